"""MCP Inspector's command line, which makes one call and ends: URL PROMPT ERA INSPECTOR..."""

import json
import os
import subprocess
import sys
from typing import Any

# It keeps tokens where a desktop keeps secrets, unless told that there is none.
SETTINGS = {"MCP_AUTO_OPEN_ENABLED": "true", "MCP_INSPECTOR_SECRET_STORE": "file"}


def main(url: str, prompt: str, era: str, *inspector: str) -> None:
    """Each turn is a process; what it needs to stay signed in it keeps itself."""

    def run(*words: str) -> dict[str, Any]:
        every = ("--cli", url, "--transport", "http", "--protocol-era", era, "--format", "json", "--quiet", *words)
        environment = {**os.environ, **SETTINGS}
        done = subprocess.run([*inspector, *every], env=environment, stdout=subprocess.PIPE, text=True, check=False)
        result: dict[str, Any] = json.loads(done.stdout)["result"]
        sys.stdout.write(f"{json.dumps(result)}\n")
        sys.stdout.flush()
        return result

    ask = ("--method", "tools/call", "--tool-name", "use_sentry", "--tool-arg", f"prompt={prompt}")
    while (result := run(*ask)).get("isError"):
        sys.stdin.readline()
    full = next(block["uri"] for block in result["content"] if block["type"] == "resource_link")
    run("--method", "resources/read", "--uri", full)


main(*sys.argv[1:])
