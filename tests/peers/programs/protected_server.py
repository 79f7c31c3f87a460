"""A server of fastmcp behind its own OAuth, which lets everybody register: python protected_server.py URL PORT."""
# mypy: ignore-errors
# Runs in a virtualenv of its own; what it imports is not installed where types are checked.

import sys

from fastmcp import FastMCP
from fastmcp.server.auth.auth import ClientRegistrationOptions, RevocationOptions
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider

url, port = sys.argv[1:]
scopes = ["notes:read"]
auth = InMemoryOAuthProvider(
    base_url=url,
    client_registration_options=ClientRegistrationOptions(enabled=True, valid_scopes=scopes, default_scopes=scopes),
    revocation_options=RevocationOptions(enabled=True),
    required_scopes=scopes,
)
server = FastMCP("Notebook", auth=auth)
notes = [{"id": "1", "title": "Order new pumps"}, {"id": "2", "title": "Call the harbour office"}]


@server.tool(annotations={"readOnlyHint": True})
def list_notes() -> list[dict[str, str]]:
    """List all notes."""
    return notes


@server.tool
def add_note(title: str) -> dict[str, str]:
    """Add a note."""
    notes.append({"id": str(len(notes) + 1), "title": title})
    return notes[-1]


server.run(transport="http", host="127.0.0.1", port=int(port), show_banner=False)
