"""The Python SDK's first line (handshake era): python python_v1.py URL KEY PROMPT."""
# mypy: ignore-errors
# Runs in a virtualenv of its own, with another version of mcp than where types are checked.

import asyncio
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client


async def main(url: str, key: str, prompt: str) -> None:
    async with (
        streamablehttp_client(url, headers={"Authorization": f"Bearer {key}"}) as (reads, writes, _),
        ClientSession(reads, writes) as session,
    ):
        await session.initialize()
        await session.list_tools()
        result = await session.call_tool("use_sentry", {"prompt": prompt})
        sys.stdout.write(result.model_dump_json(by_alias=True))


asyncio.run(main(*sys.argv[1:]))
