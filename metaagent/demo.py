"""`make demo`: the whole promise on one machine, walked step by step with the official MCP client.

Starts the product and the sandbox provider as processes of their own, and does by HTTP what a person does in a browser.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from mcp.types import CallToolResult, ResourceLink, TextResourceContents
from pydantic import AnyUrl

from metaagent.visitor import Visitor

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
EMAIL = "you@example.com"
CALLBACK = "http://127.0.0.1:3000/callback"
"""Where the client would listen. The demo's person reads the answer off the redirect, so nothing has to."""
QUESTION = "why are release errors spiking?"
_START_S = 60


class DemoError(Exception):
    """A step that did not hold; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where everything is."""

    port: int
    sandbox_port: int
    var: Path
    password: str

    @property
    def url(self) -> str:
        """The product."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def sandbox(self) -> str:
        """The provider."""
        return f"http://127.0.0.1:{self.sandbox_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The settings of this demo; nothing of the caller's own deployment leaks in."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "EGRESS_"))}
        for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "SECRET_KEY", "VAULT_KEK", "ALLOWED_HOSTS"):
            ours.pop(name, None)
        return ours | {
            "DEBUG": "1",
            "VAR_DIR": str(self.var),
            "PUBLIC_URL": self.url,
            "EGRESS_ALLOW_CIDRS": "127.0.0.1/32",
            "EGRESS_ALLOW_HTTP_HOSTS": f"127.0.0.1:{self.sandbox_port}",
            "LOG_LEVEL": "WARNING",
        }


def main() -> int:
    """Run the demo. 0 when every step held."""
    stage = Stage(
        port=int(os.environ.get("PORT", "8000")),
        sandbox_port=int(os.environ.get("SANDBOX_PORT", "8100")),
        var=Path(os.environ.get("VAR_DIR", ROOT / "var")) / "demo",
        password=secrets.token_urlsafe(9),
    )
    for ended in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: what was started ends with us
        signal.signal(ended, signal.default_int_handler)
    try:
        _ports_are_free(stage)
        with _running(stage):
            walk(stage)
            _what_next(stage)
            if os.environ.get("ONCE", "") not in {"", "0"}:
                return 0
            _stay()
    except DemoError as wrong:
        sys.stderr.write(f"\nThe demo stopped: {wrong}\n")
        return 1
    except KeyboardInterrupt:
        _say("\nStopped.")
    return 0


def walk(stage: Stage) -> None:
    """The main job: sign in, ask, be told to connect, connect, ask again."""
    client = Caller(stage, f"{stage.url}/mcp/acme/sentry")
    _say(f"1. An MCP client is given {client.endpoint} and nothing else")
    tools = _now(client.tools())
    _hold(bool(client.kept), "the client did not sign in")
    _say(f"   and sees exactly one tool: {', '.join(tools)}")
    _hold(tools == ["use_sentry"], "the client does not see exactly one tool")

    first = _now(client.ask(QUESTION))
    error = (first.structured_content or {}).get("error", {})
    _say(f"\n2. It asks: {QUESTION}\n   answer: {error.get('code')}, open {error.get('connect_url')}")
    _hold(first.is_error and error.get("code") == "needs_auth", "the first call was not answered needs_auth")

    _connect(stage, error["connect_url"])

    answer = _now(client.ask(QUESTION))
    found = answer.structured_content or {}
    _say(f"\n4. The same call again:\n\n{_indent(found.get('text', ''))}\n")
    for citation in found.get("citations", [])[:5]:
        _say(f"   [{citation['title']}] {citation.get('url', '')}")
    _hold(not answer.is_error and bool(found.get("citations")), "the second call was not answered with citations")
    _say(f"   telemetry id {found['telemetryId']}, worked by {found['mode']}, {json.dumps(found['usage'])}")
    links = [block for block in answer.content if isinstance(block, ResourceLink)]
    _hold(bool(links), "there is no link to the full result")
    size = _now(client.read(links[0].uri))
    _say(f"   the full result behind {links[0].uri}: {size} bytes")

    out = stage.var / "audit.jsonl"
    _manage(stage, "audit_export", "acme", "--out", str(out))
    trail = [json.loads(line) for line in out.read_text().splitlines()]
    mine = [event for event in trail if event["run_id"] == found["telemetryId"]]
    _say(f"\n5. The audit trail of that run ({len(trail)} events in all, in {out}):")
    for event in mine:
        _say(f"   {event['at'][11:23]}  {event['kind']:<18} {event['tool']:<18} args {event['args_hmac'][:12]}…")
    _hold({"tool.call.intent", "tool.call.done"} <= {e["kind"] for e in mine}, "the run has no audit trail")


def _connect(stage: Stage, url: str) -> None:
    with Visitor() as person:
        person.open(url)
        person.send(person.form_with("password"), email=EMAIL, password=stage.password)
        _say("\n3. The user opens the link and logs in")
        _hold("Sentry" in person.page.text and person.page.is_success, "the connect page did not open")
        person.send(_button_to_provider(person))
        _say(f"   presses “Continue to Sentry”, and is at {person.page.url.host}:{person.page.url.port}")
        person.send(person.form_with("password"))
        person.send(person.form_with("pending"), op="approve")
        _say("   logs in there, approves, and is back: connected")
        arrived = person.page.url.path.startswith("/oauth/callback/") and person.page.is_success
        _hold(arrived, f"the way back from the provider ended with {person.page.status_code}")


def _button_to_provider(person: Visitor) -> Any:  # noqa: ANN401 - a Form
    for form in person.forms():
        if form.method == "post" and "logout" not in form.action:
            return form
    raise DemoError("the connect page has no button")


@dataclass(slots=True)
class Caller:
    """The official MCP client: finds the authorization server, registers itself, and keeps what it is given."""

    stage: Stage
    endpoint: str
    kept: dict[str, Any] = field(default_factory=dict)
    _answer: AuthorizationCodeResult | None = None

    async def tools(self) -> list[str]:
        """The names it sees."""
        async with self._connected() as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    async def ask(self, prompt: str) -> CallToolResult:
        """One call."""
        async with self._connected() as client:
            return await client.call_tool("use_sentry", {"prompt": prompt})

    async def read(self, uri: str) -> int:
        """The size of a stored result's first page."""
        async with self._connected() as client:
            contents = (await client.read_resource(uri)).contents
            return sum(len(c.text.encode()) for c in contents if isinstance(c, TextResourceContents))

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        metadata = OAuthClientMetadata(client_name="The demo's client", redirect_uris=[AnyUrl(CALLBACK)])
        auth = OAuthClientProvider(self.endpoint, metadata, self, self._let_in, self._came_back)
        async with (
            httpx2.AsyncClient(auth=auth, timeout=60, trust_env=False) as http,
            Client(streamable_http_client(self.endpoint, http_client=http)) as client,
        ):
            yield client

    async def _let_in(self, url: str) -> None:
        """What the person does in the browser the client opens."""
        self._answer = await asyncio.to_thread(self._approve, url)

    def _approve(self, url: str) -> AuthorizationCodeResult:
        with Visitor(stops_at=CALLBACK) as person:
            person.open(url)
            person.send(person.form_with("password"), email=EMAIL, password=self.stage.password)
            _hold(person.page.is_success, "the page that lets a client in did not open")
            person.send(person.form_with("answer"), answer="allow")
            answer = parse_qs(urlsplit(person.page.headers.get("location", "")).query)
        _hold("code" in answer, "the client was not let in")
        _say("   the server says 401 and where to sign in; the client registers itself and opens the browser;")
        _say("   the user logs in, reads who asks, presses “Allow”: signed in")
        given = {name: answer[name][0] for name in ("code", "state", "iss") if name in answer}
        return AuthorizationCodeResult(**given)

    async def _came_back(self) -> AuthorizationCodeResult:
        if self._answer is None:
            raise DemoError("the browser did not come back")
        return self._answer

    # --- what the client keeps between its calls

    async def get_tokens(self) -> OAuthToken | None:
        """The tokens it was given."""
        return self.kept.get("tokens")

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Keep them."""
        self.kept["tokens"] = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """How it registered."""
        return self.kept.get("client")

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Keep it."""
        self.kept["client"] = client_info


@contextmanager
def _running(stage: Stage) -> Iterator[None]:
    """Database, sandbox and product up. Everything ends with the block."""
    shutil.rmtree(stage.var, ignore_errors=True)
    stage.var.mkdir(parents=True)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        _say("Preparing a database, keys, and a sandbox provider with made-up data …")
        processes.append(_start(stage, "sandbox", "manage.py", "sandbox", "--port", str(stage.sandbox_port)))
        _manage(stage, "migrate", "-v", "0")
        server = ["metaagent.asgi:application", "--port", str(stage.port), "--no-access-log", "--log-level", "warning"]
        server += ["--ws-max-size", "65536"]
        processes.append(_start(stage, "product", "-m", "uvicorn", *server))
        _await(stage, f"{stage.sandbox}/_stats", processes[0], "sandbox")
        _provision(stage)
        _await(stage, f"{stage.url}/healthz", processes[1], "product")
        yield
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def _provision(stage: Stage) -> None:
    _manage(stage, "tenant_create", "acme", "--name", "Acme")
    _manage(stage, "user_create", EMAIL, "--name", "You", "--password-stdin", stdin=stage.password)
    _manage(stage, "member_add", "acme", EMAIL, "--role", "owner")
    install = (
        "provider_install",
        "acme",
        "sentry",
        "--api-base",
        stage.sandbox,
        "--client-secret-stdin",
        "--client-id",
    )
    # The redirect URI names the installation, so it is made first and told its client afterwards.
    redirect_uri = _manage(stage, *install, "to-be-registered", stdin="to-be-registered")["redirect_uri"]
    client = {"name": "metaagent demo", "redirect_uris": [redirect_uri]}
    registered = httpx2.post(f"{stage.sandbox}/_clients", json=client, trust_env=False).raise_for_status().json()
    _manage(stage, *install, registered["client_id"], stdin=registered["client_secret"])


def _manage(stage: Stage, *words: str, stdin: str = "") -> dict[str, Any]:
    answers = words[0] != "migrate"
    done = subprocess.run(  # noqa: S603 - our own commands
        [sys.executable, "manage.py", *words, *(["--json"] if answers else [])],
        cwd=ROOT,
        env=stage.environment,
        input=f"{stdin}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoError(f"{words[0]} failed: {done.stderr.strip().splitlines()[-1:] or ['no reason given']}")
    return json.loads(done.stdout) if answers else {}


def _start(stage: Stage, name: str, *words: str) -> subprocess.Popen[bytes]:
    log = (stage.var / f"{name}.log").open("wb")
    return subprocess.Popen(  # noqa: S603 - our own programs
        [sys.executable, *words], cwd=ROOT, env=stage.environment, stdout=log, stderr=log
    )


def _await(stage: Stage, url: str, process: subprocess.Popen[bytes], name: str) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx2.get(url, timeout=1, trust_env=False).is_success:
                return
        except httpx2.HTTPError:
            time.sleep(0.1)
    lines = (stage.var / f"{name}.log").read_text(errors="replace").strip().splitlines()
    raise DemoError(f"the {name} did not start. {lines[-1] if lines else ''} See {stage.var / name}.log")


def _ports_are_free(stage: Stage) -> None:
    for port, setting in ((stage.port, "PORT"), (stage.sandbox_port, "SANDBOX_PORT")):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                other = f"{setting}={port + 10} make demo"
                raise DemoError(f"port {port} is taken, perhaps by another demo. Stop that, or run: {other}") from None


def _what_next(stage: Stage) -> None:
    endpoint = f"{stage.url}/mcp/acme/sentry"
    _say(
        f"""
Every step held. Try it yourself:

  In a browser   {stage.url}/connections/
                 {EMAIL} / {stage.password}
  The provider   {stage.sandbox}/ (log in as one of three made-up people)
  An MCP client  {endpoint}
                 paste it, log in, allow; docs/clients.md has a line for each client
  Claude Code    claude mcp add --transport http sentry {endpoint}
"""
    )


def _stay() -> None:
    _say("Up until you press Ctrl-C.")
    while True:
        time.sleep(3_600)


def _now(work: Coroutine[Any, Any, T]) -> T:
    """Run the client. Raises: DemoError, out of whatever group the client put it into."""
    try:
        return asyncio.run(work)
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from group


def _hold(held: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not held:
        raise DemoError(otherwise)


def _indent(text: str) -> str:
    return "\n".join(f"   | {line}" for line in text.splitlines())


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
