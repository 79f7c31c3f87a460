"""The official client over standard input and output, bridged by npm's mcp-remote: URL PROMPT NODE MCP_REMOTE."""
# mypy: ignore-errors

import asyncio
import os
import sys

from mcp import Client, StdioServerParameters
from turns import take


async def main(url: str, prompt: str, node: str, mcp_remote: str) -> None:
    bridge = StdioServerParameters(command=node, args=[mcp_remote, url], env=dict(os.environ))
    async with Client(bridge) as client:
        await client.list_tools()
        await take(lambda: client.call_tool("use_sentry", {"prompt": prompt}), client.read_resource)


asyncio.run(main(*sys.argv[1:]))
