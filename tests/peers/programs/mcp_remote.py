"""The official client over standard input and output, bridged by npm's mcp-remote: URL KEY PROMPT NODE MCP_REMOTE."""

import asyncio
import os
import sys

from mcp import Client, StdioServerParameters


async def main(url: str, key: str, prompt: str, node: str, mcp_remote: str) -> None:
    bridge = [mcp_remote, url, "--header", f"Authorization:Bearer {key}", "--allow-http", "--transport", "http-only"]
    async with Client(StdioServerParameters(command=node, args=bridge, env=dict(os.environ))) as client:
        await client.list_tools()
        result = await client.call_tool("use_sentry", {"prompt": prompt})
        sys.stdout.write(result.model_dump_json(by_alias=True))


asyncio.run(main(*sys.argv[1:]))
