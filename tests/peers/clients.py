"""Other vendors' MCP clients: each is told to connect, is obeyed, and gets its answer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Timer

from tests.peers.person import Person, approve_in_the_sandbox
from tests.peers.place import PROGRAMS, Json, Place, Wrong, hold, say

QUESTION = "why are release errors spiking?"
_PATIENCE_S = 120


@dataclass(frozen=True, slots=True)
class Peer:
    """A client's program; it prints the result of one call of `use_sentry` as it got it."""

    name: str
    command: tuple[str, ...]
    opens: bool = False
    """Whether it opens links itself (MCP's URL elicitation), so that one call is all it takes."""


def peers(place: Place, endpoint: str, key: str) -> list[Peer]:
    """Every client, at every revision of the protocol it speaks."""
    asks = (endpoint, key, QUESTION)
    inspector = (
        *("mcp-inspector", "--cli", endpoint, "--transport", "http", "--header", f"Authorization: Bearer {key}"),
        *("--method", "tools/call", "--tool-name", "use_sentry", "--tool-arg", f"prompt={QUESTION}"),
        *("--format", "json", "--quiet", "--protocol-era"),
    )
    inspected = f"MCP Inspector {place.version('@modelcontextprotocol/inspector')}"
    first = f"TypeScript SDK {place.version('@modelcontextprotocol/sdk')}"
    second = f"TypeScript SDK {place.version('@modelcontextprotocol/client')}"
    bridged = (str(PROGRAMS / "mcp_remote.py"), *asks, *place.node("mcp-remote"))
    return [
        Peer(f"{inspected}, handshake era", place.node(*inspector, "legacy")),
        Peer(f"{inspected}, modern era", place.node(*inspector, "modern")),
        Peer(first, place.node("typescript_v1.mjs", *asks)),
        Peer(f"{first}, opening links", place.node("typescript_v1.mjs", *asks, "open"), opens=True),
        Peer(second, place.node("typescript_v2.mjs", *asks)),
        Peer(f"{second}, opening links", place.node("typescript_v2.mjs", *asks, "open"), opens=True),
        Peer(f"mcp-remote {place.version('mcp-remote')}", (sys.executable, *bridged)),
        Peer(
            f"fastmcp {place.version('fastmcp')}",
            (place.python("fastmcp"), str(PROGRAMS / "fastmcp_client.py"), *asks),
        ),
        Peer(
            f"Python SDK {place.version('mcp')}",
            (place.python("python_v1"), str(PROGRAMS / "python_v1.py"), *asks),
        ),
    ]


def walk(place: Place, peer: Peer, person: Person) -> None:
    """Ask, be told to connect, connect, and be answered. Raises: Wrong."""
    person.disconnect()
    obeyed: list[str] = []

    def obey(link: str) -> None:
        obeyed.append(link)
        say(f"   is told to open {link}")
        person.connect(link, approve_in_the_sandbox)
        say("   the person opens it, approves at the provider, and is back: connected")

    say(f"   asks use_sentry: {QUESTION}")
    if peer.opens:
        result = _call(place, peer, obey)
        hold(len(obeyed) == 1, f"the client was told to open {len(obeyed)} links, not 1")
    else:
        obey(_link(_call(place, peer)))
        result = _call(place, peer)
    text = _text(result)
    named = re.search(r"Release \*\*(\S+@\S+)\*\*", text)
    hold(not result.get("isError") and named is not None, f"the answer names no release: {text[:200]}")
    say(f"   is answered: {text.splitlines()[0]}")
    say(f"   which names the release {named[1] if named else ''}")


def _link(result: Json) -> str:
    """The link of a `needs_auth`, which has to stand in the text too: that is all a model reads. Raises: Wrong."""
    error = (result.get("structuredContent") or {}).get("error") or {}
    told = bool(result.get("isError")) and error.get("code") == "needs_auth"
    hold(told, f"the first call was not answered needs_auth: {json.dumps(result)[:200]}")
    link = str(error.get("connect_url"))
    hold("/connect/sentry/?link=" in link and link in _text(result), "the text of needs_auth holds no link")
    return link


def _text(result: Json) -> str:
    return "\n".join(block["text"] for block in result.get("content", []) if block.get("type") == "text")


def _call(place: Place, peer: Peer, obey: Callable[[str], None] | None = None) -> Json:
    """The result a program printed. Links it has to open on the way are opened by `obey`. Raises: Wrong."""
    kept = place.said(re.sub(r"\W+", "-", peer.name))
    with kept.open("a", encoding="utf-8") as said:
        lines = _converse(place, peer.command, said.fileno(), obey)
        said.write("".join(lines))
    printed = "".join(line for line in lines if not line.startswith("OPEN "))
    try:
        result = json.loads(printed)
    except ValueError:
        raise Wrong(f"it printed no result; see {kept}") from None
    return result.get("result", result)  # the Inspector wraps it


def _converse(place: Place, command: Sequence[str], errors: int, obey: Callable[[str], None] | None) -> list[str]:
    with subprocess.Popen(
        command,
        env=place.environment,
        cwd=place.run,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    ) as program:
        limit = Timer(_PATIENCE_S, program.kill)
        limit.start()
        try:
            lines = []
            for line in program.stdout or ():
                lines.append(line)
                if line.startswith("OPEN ") and obey and program.stdin:
                    obey(line.removeprefix("OPEN ").strip())
                    program.stdin.write("\n")
                    program.stdin.flush()
            return lines
        finally:
            limit.cancel()
            program.kill()
