"""The Python SDK's first line (handshake era): python python_v1.py URL PROMPT."""
# mypy: ignore-errors
# Runs in a virtualenv of its own, with another version of mcp than where types are checked.

import asyncio
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from signing_in import signing_in
from turns import take


async def main(url: str, prompt: str) -> None:
    auth = signing_in(url, lambda code, state, _iss: (code, state))
    async with (
        streamablehttp_client(url, auth=auth) as (reads, writes, _),
        ClientSession(reads, writes) as session,
    ):
        await session.initialize()
        await session.list_tools()
        await take(lambda: session.call_tool("use_sentry", {"prompt": prompt}), session.read_resource)


asyncio.run(main(*sys.argv[1:]))
