"""Public MCP servers as providers: each is installed by its address alone and asked by the official MCP client."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from metaagent import demo
from tests.faults import proxies
from tests.faults.proxies import Passed, Proxy
from tests.peers.person import Person
from tests.peers.place import PROGRAMS, Json, Place, Wrong, hold, say
from tests.peers.product import Stage
from tests.services import free_port

_START_S = 60
_SHOWN = 160


class Door(Proxy):
    """The way to a server: connections stay as they are, and each request that passes is written down."""

    def __init__(self, port: int) -> None:
        super().__init__(0, port=port)
        self.passed: list[Passed] = []

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            await asyncio.gather(self._asked(reader, onward), self._answered(there, writer))
        finally:
            onward.close()

    async def _asked(self, reader: asyncio.StreamReader, onward: asyncio.StreamWriter) -> None:
        try:
            while True:
                head, body = await proxies._message(reader)
                method, path, _ = head.decode("latin-1").split(" ", 2)
                revision = proxies._REVISION.search(head)
                said = revision[1].decode() if revision else ""
                self.passed.append(Passed(method, path.partition("?")[0], said, self.target))
                onward.write(head + body)
        except asyncio.IncompleteReadError:
            onward.close()

    async def _answered(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await there.read(65_536):
            if piece.startswith(b"HTTP/1.1 "):
                self.passed[-1].status = int(piece[9:12])
            writer.write(piece)
        writer.close()


@dataclass(slots=True)
class Provider:
    """A server that runs, what it is called here, and the way to it, which counts."""

    stage: Stage
    slug: str
    door: Door
    folder: Path
    """The server's own."""
    key: str = ""

    @property
    def url(self) -> str:
        """What the administrator is given."""
        return f"http://127.0.0.1:{self.door.port}/mcp"

    def install(self, *options: str) -> Json:
        """As the documentation says, and see that a client finds one tool and no more."""
        told = self._manage("provider_install", "--source", "mcp", "--url", self.url, *options)
        self.key = demo._manage(self.stage, "client_key_create", "acme", demo.EMAIL)["key"]
        seen = asyncio.run(self._asked(None))
        hold(seen == [f"use_{self.slug}"], f"the client sees {seen}")
        return told

    def review(self, *options: str) -> dict[str, str]:
        """The tools that serve, and what each is taken to do. Raises: Wrong when they are not pinned, or some wait."""
        told = self._manage("provider_review", *options)
        hold(bool(told["digest"]) and told["pending"] is None, "the tools are not pinned")
        return {each["name"]: each["effect"] for each in told["tools"]}

    def ask(self, prompt: str, **options: Json) -> Json:
        """One call of the official MCP client."""
        result = asyncio.run(self._asked({"prompt": prompt, **({"options": options} if options else {})}))
        return result["structuredContent"]

    def answered(self, prompt: str, holds: str, way: str, **options: Json) -> Json:
        """Ask, and be answered in this way with this in it. Raises: Wrong."""
        found = self.ask(prompt, **options)
        said = found["text"].replace("\n", " ")
        say(f"   > {prompt} {json.dumps(options) if options else ''}\n   | [{found.get('mode')}] {said[:_SHOWN]}")
        hold("error" not in found, f"“{prompt}” was answered {found.get('error')}")
        hold(holds in found["text"], f"“{prompt}” was answered without “{holds}”: {found['text'][:400]}")
        hold(found["mode"] == way, f"“{prompt}” was answered by {found['mode']}, not {way}")
        return found

    def called(self, tool: str, args: Json, holds: str) -> None:
        """Have one tool called by its name. Raises: Wrong."""
        self.answered(tool, holds, "tool", mode="tool", tool=tool, args=args)

    def left_undone(self, prompt: str) -> None:
        """Ask for a change: nothing is called without an approval. Raises: Wrong."""
        before = len(self.door.passed)
        found = self.ask(prompt)
        error = found.get("error") or {}
        said = found["text"].replace("\n", " ")
        say(f"   > {prompt}\n   | [{error.get('code') or found.get('mode')}] {said[:_SHOWN]}")
        clear = error.get("code") == "approval_required" if error else found["mode"] == "degraded"
        hold(clear, f"“{prompt}” was answered {error or found['text'][:400]}")
        hold(len(self.door.passed) == before, f"“{prompt}” was sent: {_counted(self.door.passed[before:])}")

    def costs_one_request(self, tool: str, each: Callable[[int], Json]) -> None:
        """Calls that differ, so that none is answered from the cache. Raises: Wrong."""
        for warm in range(len(self.stage.proxy.targets)):
            self.ask(tool, mode="tool", tool=tool, args=each(warm))
        times, before = 5, len(self.door.passed)
        for number in range(times):
            found = self.ask(tool, mode="tool", tool=tool, args=each(100 + number))
            hold("error" not in found, f"{tool} was answered {found.get('error')}")
        passed = self.door.passed[before:]
        hold(len(passed) == times, f"{times} calls took {len(passed)} requests: {_counted(passed)}")
        say(f"   {times} calls took {times} requests, in MCP {passed[-1].revision}")

    def _manage(self, command: str, *options: str) -> Json:
        return demo._manage(self.stage, command, "acme", self.slug, *options)

    async def _asked(self, arguments: Json) -> Json:
        """A call's result; without arguments the names of the tools."""
        headers = {"Authorization": f"Bearer {self.key}"}
        endpoint = f"{self.stage.url}/mcp/acme/{self.slug}"
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http,
            Client(streamable_http_client(endpoint, http_client=http)) as client,
        ):
            if arguments is None:
                return [tool.name for tool in (await client.list_tools()).tools]
            result = await client.call_tool(f"use_{self.slug}", arguments)
            return result.model_dump(mode="json", by_alias=True)


# --- what each has to show -------------------------------------------------------------------------------------------


def _everything(provider: Provider, _person: Person) -> None:
    provider.install("--trust-hints")
    tools = provider.review()
    hold(tools.get("echo") == tools.get("get_sum") == "read", f"its hints were not believed: {tools}")
    provider.answered('echo "hello"', "hello", "route")
    provider.answered("what is the sum of 2 and 3?", "5", "route")
    provider.answered("show me the tiny image", "image/png", "route")
    provider.answered("what are the environment variables?", "PATH", "degraded")
    provider.called("echo", {"message": "ahoy"}, "ahoy")
    provider.called("get_structured_content", {"location": "Chicago"}, "temperature")
    provider.costs_one_request("echo", lambda n: {"message": f"number {n}"})


def _memory(provider: Provider, _person: Person) -> None:
    provider.install("--trust-hints")
    tools = provider.review()
    hold(tools.get("create_entities") == "write" and tools.get("delete_entities") == "destructive", f"{tools}")
    wish = "create an entity called Ada Lovelace of type person"
    provider.left_undone(wish)
    provider.called("read_graph", {}, "Nothing was found")
    ada = {"name": "Ada Lovelace", "entityType": "person", "observations": ["wrote the first program"]}
    provider.called("create_entities", {"entities": [ada]}, "Ada Lovelace")
    provider.answered("read the knowledge graph", "wrote the first program", "route")
    provider.answered("search for nodes about Ada", "wrote the first program", "route")
    provider.costs_one_request("search_nodes", lambda n: {"query": f"number {n}"})


def _filesystem(provider: Provider, _person: Person) -> None:
    provider.install("--trust-hints")
    tools = provider.review()
    hold(tools.get("write_file") == "destructive" and tools.get("read_text_file") == "read", f"{tools}")
    folder = provider.folder
    provider.answered(f"what is in the directory {folder}?", "logbook.txt", "degraded")
    provider.answered(f"show the directory tree of {folder}", "logbook.txt", "route")
    provider.answered(f"read the text file {folder / 'logbook.txt'}", "Fog until noon", "route")
    provider.answered(f'search for files matching "*.txt" in {folder}', "logbook.txt", "route")
    provider.answered("which directories are allowed?", str(folder), "route")
    provider.called("get_file_info", {"path": str(folder / "logbook.txt")}, "size")
    provider.left_undone(f"delete everything in {folder}")
    provider.left_undone(f"write “gone” to the file {folder / 'logbook.txt'}")
    hold((folder / "logbook.txt").read_text(encoding="utf-8") == _LOGBOOK, "the file was changed")
    provider.costs_one_request("search_files", lambda n: {"path": str(folder), "pattern": f"*{n}"})


def _time(provider: Provider, _person: Person) -> None:
    provider.install()
    tools = provider.review()
    hold(set(tools.values()) == {"write"}, f"what nobody confirmed is taken to read: {tools}")
    provider.left_undone("what time is it in Asia/Tokyo?")
    tools = provider.review("--read", "get_current_time", "convert_time")
    hold(set(tools.values()) == {"read"}, f"what was confirmed does not hold: {tools}")
    provider.answered("what is the current time in Asia/Tokyo?", "Asia/Tokyo", "route")
    convert = {"source_timezone": "Europe/Berlin", "time": "10:00", "target_timezone": "Asia/Tokyo"}
    provider.called("convert_time", convert, "Asia/Tokyo")
    provider.costs_one_request("convert_time", lambda n: convert | {"time": f"{n // 60:02}:{n % 60:02}"})


def _protected(provider: Provider, person: Person) -> None:
    told = provider.install("--trust-hints")
    hold(told["access"] == "oauth" and bool(told["client_id"]), f"it was not discovered and registered at: {told}")
    registered = [each for each in provider.door.passed if each.path == "/register" and each.status == 201]
    hold(len(registered) == 1, f"it registered {len(registered)} times: {_counted(provider.door.passed)}")
    question = "list all notes"
    error = provider.ask(question).get("error") or {}
    hold(error.get("code") == "needs_auth", f"“{question}” was answered {error}")
    person.connect(error["connect_url"], lambda _browser: None)  # this server asks its people nothing
    say("   discovered, registered, connected in the browser")
    tools = provider.review()
    hold(tools == {"list_notes": "read", "add_note": "write"}, f"it serves {tools}")
    provider.answered(question, "Order new pumps", "degraded")
    provider.called("list_notes", {}, "harbour office")
    provider.left_undone("add a note: paint the hull")
    provider.costs_one_request("add_note", lambda n: {"title": f"number {n}"})
    person.disconnect()
    revoked = [each.status for each in provider.door.passed if each.path == "/revoke"]
    hold(revoked != [] and set(revoked) == {200}, f"disconnecting was answered {revoked}")
    code = (provider.ask(question).get("error") or {}).get("code")
    hold(code == "needs_auth", f"after disconnecting “{question}” was answered {code}")
    say("   disconnected: its token is revoked there, and the next call is told to connect")


# --- where they run --------------------------------------------------------------------------------------------------

Show: TypeAlias = Callable[[Provider, Person], None]
_LOGBOOK = "Fog until noon, then clear.\n"


@dataclass(frozen=True, slots=True)
class Server:
    """One that is started for the time of its walk."""

    slug: str
    package: str
    show: Show

    @property
    def name(self) -> str:
        """What it is called in the verdicts."""
        return f"MCP servers: {self.package}"


SERVERS = (
    Server("everything", "@modelcontextprotocol/server-everything", _everything),
    Server("memory", "@modelcontextprotocol/server-memory", _memory),
    Server("filesystem", "@modelcontextprotocol/server-filesystem", _filesystem),
    Server("time", "mcp-server-time", _time),
    Server("notebook", "fastmcp", _protected),
)


def walk(place: Place, stage: Stage, person: Person, server: Server, door: Door) -> None:
    """Start it behind `door`, install it, ask it. Raises: Wrong."""
    say(f"   version {place.version(server.package)}")
    with _up(place, server, door):
        server.show(Provider(stage, server.slug, door, place.run / server.slug), person)


@contextmanager
def _up(place: Place, server: Server, door: Door) -> Iterator[None]:
    """Raises: Wrong when it does not start."""
    door.target = port = free_port()
    folder = place.run / server.slug
    folder.mkdir()
    command, own = _command(place, server.slug, port, f"http://127.0.0.1:{door.port}")
    with place.said(server.slug).open("wb") as log:
        process = subprocess.Popen(command, env=place.environment | own, cwd=folder, stdout=log, stderr=log)
    try:
        _await(port, process, f"{server.package} did not start; see {place.said(server.slug)}")
        yield
    finally:
        process.terminate()
        process.wait(15)


def _command(place: Place, slug: str, port: int, url: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """What runs it, and the settings of its own."""
    folder = place.run / slug
    match slug:
        case "everything":
            return place.node("mcp-server-everything", "streamableHttp"), {"PORT": str(port)}
        case "memory":
            kept = {"MEMORY_FILE_PATH": str(folder / "memory.jsonl")}
            return _bridged(place, port, "--stateful", command=place.node("mcp-server-memory")), kept
        case "filesystem":
            (folder / "logbook.txt").write_text(_LOGBOOK, encoding="utf-8")
            return _bridged(place, port, "--stateful", command=place.node("mcp-server-filesystem", str(folder))), {}
        case "time":
            return _bridged(place, port, command=(place.python("time"), "-m", "mcp_server_time")), {}
        case _:
            return (place.python("fastmcp"), str(PROGRAMS / "protected_server.py"), url, str(port)), {}


def _bridged(place: Place, port: int, *options: str, command: tuple[str, ...]) -> tuple[str, ...]:
    """A server that only knows standard input and output, over HTTP."""
    http = ("--outputTransport", "streamableHttp", "--port", str(port), "--logLevel", "info")
    return place.node("supergateway", "--stdio", shlex.join(command), *http, *options)


def _await(port: int, process: subprocess.Popen[bytes], otherwise: str) -> None:
    """Wait for any answer at all. Raises: Wrong."""
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            httpx2.get(f"http://127.0.0.1:{port}/", trust_env=False)
        except httpx2.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise Wrong(otherwise)


def _counted(passed: list[Passed]) -> str:
    return ", ".join(f"{each.method} {each.path} {each.status}" for each in passed) or "nothing"
