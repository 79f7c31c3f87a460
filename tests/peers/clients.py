"""Other vendors' MCP clients: each has only a URL, is let in, told to connect, is obeyed, and gets its answer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from threading import Timer

from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_PROTOCOL_VERSION

from tests.faults.proxies import Passed, RoundRobin
from tests.peers.browser import Browser
from tests.peers.person import Person, approve_in_the_sandbox
from tests.peers.place import PROGRAMS, Json, Place, Wrong, hold
from tests.peers.transcript import Transcript, named

QUESTION = "why are release errors spiking?"
_PATIENCE_S = 120
_STEPS = ["let in", "told to connect", "answered", "read"]
_APART = (
    (("POST", "/o/authorize/"), ("POST", "/o/token/")),
    (("POST", "/connect/"), ("GET", "/oauth/callback/")),
)
"""Of each two requests the second goes on with what the first began, so two processes have to do one each."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A client's program: it prints each result it gets as a line of JSON, and waits for a line when it has to."""

    name: str
    version: str
    command: tuple[str, ...]


def peers(place: Place, endpoint: str) -> list[Peer]:
    """Every client, at every revision of the protocol it speaks."""
    asks = (endpoint, QUESTION)

    def python(program: str, *words: str, at: str = sys.executable) -> tuple[str, ...]:
        return at, str(PROGRAMS / program), *asks, *words

    peers = [
        Peer(f"Python SDK v2, {revision}", metadata.version("mcp"), python("python_v2.py", revision))
        for revision in (LATEST_PROTOCOL_VERSION, *reversed(HANDSHAKE_PROTOCOL_VERSIONS))
    ]
    peers.append(Peer("Python SDK v1", place.version("mcp"), python("python_v1.py", at=place.python("python_v1"))))
    for line, package in (("v1", "sdk"), ("v2", "client")):
        name, version = f"TypeScript SDK {line}", place.version(f"@modelcontextprotocol/{package}")
        program = place.node(f"typescript_{line}.mjs", *asks)
        peers += [Peer(name, version, program), Peer(f"{name}, opening links", version, (*program, "open"))]
    for era in ("legacy", "modern"):
        program = python("inspector.py", era, *place.node("mcp-inspector"))
        peers.append(Peer(f"MCP Inspector, {era} era", place.version("@modelcontextprotocol/inspector"), program))
    bridged = python("mcp_remote.py", *place.node("mcp-remote"))
    fastmcp = python("fastmcp_client.py", at=place.python("fastmcp"))
    return [
        *peers,
        Peer("mcp-remote", place.version("mcp-remote"), bridged),
        Peer("fastmcp", place.version("fastmcp"), fastmcp),
    ]


def walk(place: Place, peer: Peer, proxy: RoundRobin, person: Person) -> None:
    """Be let in, ask, be told to connect, connect, be answered, and read the full result. Raises: Wrong."""
    folder = place.run / named(peer.name)
    folder.mkdir()
    began, done = len(proxy.passed), []
    transcript = Transcript(peer.name, peer.version, proxy)

    def let_in(link: str) -> None:
        transcript.note("opens the browser; the person logs in and presses “Allow”")
        done.append("let in")
        try:
            person.let_in(link)
        except Exception:
            program.kill()  # it would wait for an answer
            raise

    def obey(link: str, told: str) -> None:
        transcript.note(f"is told: {told}")
        hold("/connect/sentry/?link=" in link and link in told, "it was not told a link to connect")
        done.append("told to connect")
        person.connect(link, approve_in_the_sandbox)
        transcript.note("the person opens the link, approves at the provider, and is back: connected")
        if program.stdin:
            program.stdin.write("\n")
            program.stdin.flush()

    try:
        with Browser(folder, let_in) as browser, _running(place, peer, folder, browser) as program:
            for line in _lines(program, folder):
                if line.startswith("OPEN "):
                    link = line.removeprefix("OPEN ").strip()
                    obey(link, link)
                    continue
                result = json.loads(line)
                if result.get("isError"):
                    obey(_link(result), _text(result))
                elif "contents" in result:
                    transcript.note("reads the full result")
                    hold(all(json.loads(each["text"]) for each in result["contents"]), "the full result is empty")
                    done.append("read")
                else:
                    transcript.note(f"is answered: {_answer(result)}")
                    done.append("answered")
        if browser.wrong:
            raise browser.wrong[0]
        hold(done == _STEPS, f"it was not {', '.join(_STEPS)}, but {', '.join(done) or 'nothing'}; see {folder}")
    finally:
        person.disconnect()
    if len(proxy.targets) > 1:
        _apart(proxy.passed[began:])
    transcript.keep()


def _apart(passed: list[Passed]) -> None:
    """Raises: Wrong when one process finished what it had begun itself."""
    for pair in _APART:
        first, second = (
            next(each for each in passed if each.method == method and each.path.startswith(path))
            for method, path in pair
        )
        hold(first.target != second.target, f"{first.path} and {second.path} were answered by one process")


def _link(result: Json) -> str:
    """The link of a `needs_auth`. Raises: Wrong."""
    error = (result.get("structuredContent") or {}).get("error") or {}
    hold(error.get("code") == "needs_auth", f"it was not answered needs_auth: {json.dumps(result)[:200]}")
    return str(error.get("connect_url"))


def _answer(result: Json) -> str:
    """Its first sentence and the release it names; the figures are others at every run. Raises: Wrong."""
    text = _text(result)
    release = re.search(r"Release \*\*(\S+@\S+)\*\*", text)
    hold(release is not None, f"the answer names no release: {text[:200]}")
    return f"{text.partition('.')[0].strip('*')}. … Release {release[1] if release else ''}"


def _text(result: Json) -> str:
    return "\n".join(block["text"] for block in result.get("content", []) if block.get("type") == "text")


@contextmanager
def _running(place: Place, peer: Peer, folder: Path, browser: Browser) -> Iterator[subprocess.Popen[str]]:
    """With a home of its own, so that nothing is left there of a run before; ended with the block, or in good time."""
    own = {"HOME": str(folder), "BROWSER": str(browser.program)}
    with (folder / "errors.txt").open("wb") as errors:
        program = subprocess.Popen(
            peer.command,
            env=place.environment | own,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    limit = Timer(_PATIENCE_S, program.kill)
    limit.start()
    with program:
        try:
            yield program
        finally:
            limit.cancel()
            program.kill()


def _lines(program: subprocess.Popen[str], folder: Path) -> Iterator[str]:
    """What it prints, kept too. Raises: Wrong for what is no line of ours."""
    with (folder / "printed.txt").open("w", encoding="utf-8") as printed:
        for line in program.stdout or ():
            printed.write(line)
            if not line.startswith(("{", "OPEN ")):
                raise Wrong(f"it printed no result; see {folder}")
            yield line
