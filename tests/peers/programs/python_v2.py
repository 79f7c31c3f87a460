"""The Python SDK's second line, at each revision it speaks: python python_v2.py URL PROMPT REVISION."""
# mypy: ignore-errors
# Its OAuth is shared with a program that runs where types are not checked.

import asyncio
import sys

import httpx2
from mcp import Client
from mcp.client import session
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from signing_in import signing_in
from turns import take


async def main(url: str, prompt: str, revision: str) -> None:
    handshake = revision in HANDSHAKE_PROTOCOL_VERSIONS
    if handshake:
        session.LATEST_HANDSHAKE_VERSION = revision  # it speaks the older ones, and offers but the newest
    auth = signing_in(url, lambda code, state, iss: AuthorizationCodeResult(code=code, state=state, iss=iss))
    async with (
        httpx2.AsyncClient(auth=auth, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), mode="legacy" if handshake else "auto") as client,
    ):
        if client.protocol_version != revision:
            sys.exit(f"speaks {client.protocol_version}")
        await client.list_tools()
        await take(lambda: client.call_tool("use_sentry", {"prompt": prompt}), client.read_resource)


asyncio.run(main(*sys.argv[1:]))
