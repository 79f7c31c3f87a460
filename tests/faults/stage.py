"""What a fault script acts on: the product as two processes, the sandbox, a database and people, all of its own."""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import httpx2

from metaagent.visitor import Form, Visitor
from tests import services
from tests.faults.calls import Caller, Json, Reply, together
from tests.faults.proxies import ProviderProxy, Proxy

if TYPE_CHECKING:
    from vault.models import Connection, SealedTokenSet

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent.parent
TENANT, PASSWORD = "acme", "correct horse battery"
ACCOUNTS = ("ada@example.com", "bruno@example.com", "chioma@example.com")
"""People at the sandbox."""
_START_S = 60


@dataclass(slots=True)
class Verdict:
    """One scenario's line: what was counted, and what did not hold."""

    fault: str
    figures: dict[str, Json] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def hold(self, held: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as an assertion
        """Go on either way; the line says what did not hold."""
        if not held and len(self.wrong) < 20:
            self.wrong.append(otherwise)

    def printed(self) -> bool:
        """Print the line; whether everything held."""
        line = {"fault": self.fault, **self.figures, "ok": not self.wrong, "wrong": self.wrong}
        sys.stdout.write(json.dumps(line, default=str) + "\n")
        sys.stdout.flush()
        return not self.wrong


@dataclass(slots=True)
class Replica:
    """One product process on a port of its own; started again, it is a fresh process on the same one."""

    port: int
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to start; `ready` waits for it."""
        server = ("metaagent.asgi:application", "--host", "127.0.0.1", "--no-access-log", "--log-level", "warning")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", *server, "--port", str(self.port)],
                cwd=ROOT,
                env=dict(self.environment),
                stdout=log,
                stderr=log,
            )

    def ready(self) -> None:
        """Until it answers. Raises: RuntimeError."""
        host = {"Host": urlsplit(self.environment["PUBLIC_URL"]).netloc}
        _awaited(f"http://127.0.0.1:{self.port}/healthz", self.process, self.log, host)

    def signal(self, number: signal.Signals) -> None:
        """SIGKILL, SIGSTOP, SIGCONT."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def killed(self) -> None:
        """`kill -9`."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def ended(self) -> None:
        """As a deployment ends it."""
        if self.process is None:
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.killed()


@dataclass(frozen=True, slots=True)
class Member:
    """A person in the tenant, their browser, and their client key."""

    email: str
    key: str = field(repr=False)
    visitor: Visitor = field(default_factory=Visitor, repr=False)


class Stage:
    """Everything of one scenario. Made by `staged`."""

    def __init__(self, folder: Path, database: str, url: str, sandbox: str, provider: str) -> None:
        self.folder = folder
        self.database = database
        self.url = url
        self.host = urlsplit(url).netloc
        self.sandbox = sandbox
        """Where scripts steer it."""
        self.provider = provider
        """Where the product finds it: the sandbox, or a proxy before it."""
        self.replicas: list[Replica] = []
        self.proxy: ProviderProxy | None = None
        self.database_proxy: Proxy | None = None

    # --- people, made by the commands of the README

    def manage(self, *words: str, stdin: str = "") -> Json:
        """A command of `manage.py`, in this process."""
        from django.core.management import call_command

        said, given = io.StringIO(), sys.stdin
        sys.stdin = io.StringIO(f"{stdin}\n")
        try:
            call_command(words[0], *words[1:], "--json", stdout=said, stderr=io.StringIO())
        finally:
            sys.stdin = given
        return json.loads(said.getvalue())

    def install(self) -> None:
        """A tenant that exports Sentry, which is the sandbox."""
        self.manage("tenant_create", TENANT)
        install = ("provider_install", TENANT, "sentry", "--api-base", self.provider, "--client-secret-stdin")
        # The redirect URI names the installation, so it is made first and told its client afterwards.
        uri = self.manage(*install, "--client-id", "to-be-registered", stdin="to-be-registered")["redirect_uri"]
        client = self._post("/_clients", {"name": "faults", "redirect_uris": [uri]}).json()
        self.manage(*install, "--client-id", client["client_id"], stdin=client["client_secret"])

    def member(self, email: str, role: str = "member") -> Member:
        """Somebody new, with a password and a key."""
        self.manage("user_create", email, "--password-stdin", stdin=PASSWORD)
        self.manage("member_add", TENANT, email, "--role", role)
        return Member(email, self.manage("client_key_create", TENANT, email)["key"])

    def caller(self, member: Member, account: str) -> Caller:
        """The member's client, who expects to be answered as that account."""
        return Caller(self.host, f"/mcp/{TENANT}/sentry", member.key, account)

    # --- connecting, on the pages

    def connect(self, member: Member, account: str) -> Connection:
        """All of it, as a person does it."""
        visitor = member.visitor
        visitor.open(self.callback_of(member, account))
        if visitor.page.status_code != 200:
            raise RuntimeError(f"connecting ended with {visitor.page.status_code}: {visitor.page.text[-800:]}")
        return self.connection(member)

    def callback_of(self, member: Member, account: str) -> str:
        """Connecting up to the answer of the provider, which is not delivered: its address."""
        visitor = member.visitor
        visitor.open(f"{self.url}/connect/sentry/?tenant={TENANT}")
        if visitor.page.url.path == "/login/":
            self.log_in(member)
        visitor.send(_leaving(visitor.forms()))
        return approved(visitor, account)

    def log_in(self, member: Member) -> None:
        """On the log-in page the browser is at."""
        visitor = member.visitor
        visitor.send(visitor.form_with("password"), email=member.email, password=PASSWORD)

    def ask(self, caller: Caller, replica: int = 0) -> Reply:
        """One call."""
        return together([(self.replicas[replica].port, caller)])[0]

    # --- what stands in the database

    def connection(self, member: Member) -> Connection:
        """The member's one connection. Raises: Connection.DoesNotExist."""
        from vault.models import Connection

        return Connection.objects.get(owner__email=member.email)

    def connections(self, member: Member) -> int:
        """How many the member has."""
        from vault.models import Connection

        return Connection.objects.filter(owner__email=member.email).count()

    def tokens(self, connection: UUID) -> SealedTokenSet:
        """Its row of tokens, with the connection as it is now."""
        from vault.models import SealedTokenSet

        return SealedTokenSet.objects.select_related("connection").get(connection_id=connection)

    def events(self, *kinds: str) -> int:
        """How many audit events there are of these kinds."""
        from audit.models import AuditEvent

        return AuditEvent.objects.filter(kind__in=kinds).count()

    def expire(self, connections: Sequence[UUID], *, everywhere: bool = False) -> None:
        """As if the tokens' time were over: in the rows, and `everywhere`: at the provider too."""
        from datetime import timedelta

        from django.db.models.functions import Now

        from tenants import standing
        from vault.models import SealedTokenSet

        rows = SealedTokenSet.objects.filter(connection_id__in=connections)
        rows.update(expires_at=Now() - timedelta(seconds=1), refreshed_at=Now() - timedelta(hours=1))
        standing.changed()  # so that no process goes by what it remembers
        if everywhere:
            self._post("/_expire")

    def settled(self) -> None:
        """Wait until every process has noticed what was changed in the database (`STANDING_CACHE_MS`)."""
        time.sleep(1.05)

    # --- the sandbox

    def stats(self) -> Json:
        """What it counted."""
        return httpx2.get(f"{self.sandbox}/_stats", trust_env=False).json()

    def reset(self) -> None:
        """Count from zero."""
        self._post("/_reset")

    def faults(self, **faults: Json) -> None:
        """Make it misbehave; without arguments it behaves again."""
        self._post("/_faults", faults)

    def _post(self, path: str, body: Json = None) -> httpx2.Response:
        return httpx2.post(f"{self.sandbox}{path}", json=body or {}, trust_env=False).raise_for_status()


def approved(visitor: Visitor, account: str) -> str:
    """Log in at the sandbox unless that is done, allow everything, and where the browser is sent then."""
    if any("password" in form.fields for form in visitor.forms()):
        visitor.send(visitor.form_with("password"), email=account)
    form = visitor.form_with("pending")
    page = visitor.page.url
    answer = visitor.http.post(
        str(page.join(form.action)),
        data={**form.fields, "op": "approve"},
        headers={"Origin": f"{page.scheme}://{page.netloc.decode()}"},
        follow_redirects=False,
    )
    return str(answer.headers["location"])


def _leaving(forms: Sequence[Form]) -> Form:
    return next(form for form in forms if form.method == "post" and "logout" not in form.action)


@contextmanager
def staged(
    database: str,
    *,
    replicas: int = 2,
    settings: Mapping[str, str] | None = None,
    own_settings: Sequence[Mapping[str, str]] = ({}, {}),
    slow_database: bool = False,
    proxied: bool = False,
) -> Iterator[Stage]:
    """Database, sandbox and product up, Sentry installed; everything ends with the block.

    Args:
        database: `postgresql` or `sqlite`.
        replicas: how many product processes.
        settings: further settings of the product.
        own_settings: what the environment of each replica has beside that.
        slow_database: whether a `Proxy` stands between product and PostgreSQL, which can be made slow.
        proxied: whether a `ProviderProxy` stands between product and sandbox.
    """
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: sys.exit(130))  # unwinds, so that nothing started here stays behind
    with ExitStack() as up:
        folder = Path(tempfile.mkdtemp(prefix="metaagent-faults-"))
        up.callback(shutil.rmtree, folder, ignore_errors=True)
        sandbox_port, ports = services.free_port(), [services.free_port() for _ in range(replicas)]
        provider_port, proxy = sandbox_port, None
        if proxied:
            proxy = up.enter_context(ProviderProxy(sandbox_port))
            provider_port = proxy.port
        ours = {
            "DATABASE_URL": _database(database, up),
            "VAR_DIR": str(folder),
            "SECRET_KEY": secrets.token_urlsafe(64),
            "PUBLIC_URL": f"http://127.0.0.1:{ports[0]}",
            "EGRESS_ALLOW_CIDRS": "127.0.0.1/32",
            "EGRESS_ALLOW_HTTP_HOSTS": f"127.0.0.1:{provider_port}",
            "ASKS_PER_MINUTE": "10000000",
            "ASKS_PER_MINUTE_TENANT": "10000000",
            "LOGIN_FAILURES_PER_HOUR": "100000",
            "LOG_LEVEL": "WARNING",
        } | dict(settings or {})
        _set_up_django(ours)
        stage = Stage(
            folder,
            database,
            ours["PUBLIC_URL"],
            f"http://127.0.0.1:{sandbox_port}",
            f"http://127.0.0.1:{provider_port}",
        )
        stage.proxy = proxy
        theirs = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | ours
        if slow_database and database == "postgresql":
            target = urlsplit(ours["DATABASE_URL"]).port or 5432
            stage.database_proxy = up.enter_context(Proxy(target))
            theirs["DATABASE_URL"] = ours["DATABASE_URL"].replace(f":{target}/", f":{stage.database_proxy.port}/")
        up.callback(_closed)

        _sandbox(folder, sandbox_port, theirs, up)
        for at, port in enumerate(ports):
            environment = theirs | dict(own_settings[at] if at < len(own_settings) else {})
            stage.replicas.append(Replica(port, environment, folder / f"product-{at}.log"))
        stage.install()
        for replica in stage.replicas:
            up.callback(replica.ended)
            replica.start()
        for replica in stage.replicas:
            replica.ready()
        yield stage


def _set_up_django(ours: Mapping[str, str]) -> None:
    """This process reads and writes the database as the product does, and is otherwise no part of it."""
    for name in ("REDIS_URL", "CELERY_BROKER_URL", "VAULT_KEK", "ALLOWED_HOSTS", "DEBUG"):
        os.environ.pop(name, None)
    redis = {"REDIS_URL", "CELERY_BROKER_URL"}
    os.environ |= {name: value for name, value in ours.items() if name not in redis}
    os.environ["DJANGO_SETTINGS_MODULE"] = "metaagent.settings"
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def _closed() -> None:
    from django.db import connection

    connection.close()
    if close_pool := getattr(connection, "close_pool", None):
        close_pool()


def _database(kind: str, up: ExitStack) -> str:
    """An empty database: in the cluster of a test run if there is one, else in one of its own; a file for SQLite."""
    if kind == "sqlite":
        return ""
    cluster = os.environ.get("METAAGENT_TEST_DATABASE", "")
    if not cluster:
        cluster, stop = services.postgresql()
        up.callback(stop)
        return cluster
    import psycopg

    name = f"faults_{secrets.token_hex(6)}"
    with psycopg.connect(cluster, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{cluster.rsplit('/', 1)[0]}/{name}"


def _sandbox(folder: Path, port: int, environment: Mapping[str, str], up: ExitStack) -> None:
    log = folder / "sandbox.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "sandbox", "--port", str(port), "--json"],
            cwd=ROOT,
            env=dict(environment),
            stdout=said,
            stderr=said,
        )
    up.callback(process.wait)
    up.callback(process.terminate)
    _awaited(f"http://127.0.0.1:{port}/_stats", process, log)


def _awaited(
    url: str, process: subprocess.Popen[bytes] | None, log: Path, headers: Mapping[str, str] | None = None
) -> None:
    deadline = time.monotonic() + _START_S
    with httpx2.Client(timeout=10, trust_env=False, headers=headers) as http:
        while time.monotonic() < deadline and process is not None and process.poll() is None:
            try:
                if http.get(url).is_success:
                    return
            except httpx2.HTTPError:
                pass
            time.sleep(0.05)
    raise RuntimeError(f"{url} did not come up: {log.read_text(errors='replace')[-2_000:]}")


def until(found: Callable[[], T | None], *, within_s: float = 30) -> T | None:
    """What `found` gives once it gives something; None when it never does."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if got := found():
            return got
        time.sleep(0.005)
    return None


def options(about: str | None, **defaults: Any) -> argparse.Namespace:
    """What every script can be told, and its own numbers."""
    parser = argparse.ArgumentParser(description=(about or "").split("\n", 1)[0])
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--quick", action="store_true", help="small numbers, for a first look")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of what is random")
    for name, default in defaults.items():
        flag = f"--{name.replace('_', '-')}"
        if default is False:
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=type(default), default=default, help="(default: %(default)s)")
    return parser.parse_args()
