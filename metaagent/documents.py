"""Fetches the documents by which MCP clients introduce themselves, through the guarded transport."""

from __future__ import annotations

from oauth2_provider.cimd import SafeMetadataFetcher


class Fetcher(SafeMetadataFetcher):
    """The toolkit's fetcher, for now."""
