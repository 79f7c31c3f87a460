"""The fastmcp package's client, with its own OAuth: python fastmcp_client.py URL PROMPT."""
# mypy: ignore-errors
# Runs in a virtualenv of its own; what it imports is not installed where types are checked.

import asyncio
import sys

from fastmcp import Client
from turns import take


async def main(url: str, prompt: str) -> None:
    async with Client(url, auth="oauth") as client:
        await client.list_tools()
        await take(lambda: client.call_tool_mcp("use_sentry", {"prompt": prompt}), client.read_resource_mcp)


asyncio.run(main(*sys.argv[1:]))
