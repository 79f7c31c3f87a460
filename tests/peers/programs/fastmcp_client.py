"""The fastmcp package's client: python fastmcp_client.py URL KEY PROMPT."""
# mypy: ignore-errors
# Runs in a virtualenv of its own; what it imports is not installed where types are checked.

import asyncio
import sys

from fastmcp import Client


async def main(url: str, key: str, prompt: str) -> None:
    async with Client(url, auth=key) as client:
        await client.list_tools()
        result = await client.call_tool_mcp("use_sentry", {"prompt": prompt})
        sys.stdout.write(result.model_dump_json(by_alias=True))


asyncio.run(main(*sys.argv[1:]))
