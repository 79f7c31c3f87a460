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
from tests.faults import replicas
from tests.faults.calls import Caller, Json, Reply, together
from tests.faults.proxies import ProviderProxy, Proxy
from tests.faults.replicas import Replica, awaited, started

if TYPE_CHECKING:
    from vault.models import Connection, SealedTokenSet

T = TypeVar("T")

ROOT = replicas.ROOT
TENANT, PASSWORD = "acme", "correct horse battery"
ACCOUNTS = ("ada@example.com", "bruno@example.com", "chioma@example.com")
"""People at the sandbox."""
_LIMITS = {
    "ASKS_PER_MINUTE": "10000000",
    "ASKS_PER_MINUTE_TENANT": "10000000",
    "PROVIDER_CALLS_PER_MINUTE": "10000000",
    "PROVIDER_CALLS_PER_MINUTE_TENANT": "10000000",
    "LOGIN_FAILURES_PER_HOUR": "100000",
    "LOG_LEVEL": "WARNING",
}
"""No script could stay within the usual ones."""


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


@dataclass(frozen=True, slots=True)
class Member:
    """A person in the tenant, their browser, and their client key."""

    email: str
    key: str = field(repr=False)
    visitor: Visitor = field(default_factory=Visitor, repr=False)


class Stage:
    """Everything of one scenario, with the sandbox as provider. Made by `staged`."""

    token_path = "/oauth/token/"
    """Of the provider, for a proxy before it."""
    tenant = TENANT

    def __init__(self, folder: Path, database: str, url: str, sandbox: str, provider: str) -> None:
        self.folder = folder
        self.database = database
        self.url = url
        self.host = urlsplit(url).netloc
        self.sandbox = sandbox
        """Where scripts steer the provider."""
        self.provider = provider
        """Where the product finds it: there, or at a proxy before it."""
        self.replicas: list[Replica] = []
        self.proxy: ProviderProxy | None = None
        self.database_proxy: Proxy | None = None

    def serve_provider(self, port: int, environment: Mapping[str, str], up: ExitStack, /) -> None:
        """Start it, to be ended with the block."""
        log = self.folder / "sandbox.log"
        process = started(("manage.py", "sandbox", "--port", str(port), "--json"), environment, log)
        up.callback(process.wait)
        up.callback(process.terminate)
        awaited(f"{self.sandbox}/_stats", process, log)

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

    def member(self, email: str, role: str = "member", /) -> Member:
        """Somebody new, with a password and a key."""
        self.manage("user_create", email, "--password-stdin", stdin=PASSWORD)
        self.manage("member_add", TENANT, email, "--role", role)
        return Member(email, self.manage("client_key_create", TENANT, email)["key"])

    def caller(self, member: Member, account: str) -> Caller:
        """The member's client, who expects to be answered as that account."""
        return Caller(self.host, f"/mcp/{self.tenant}/sentry", member.key, account)

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
        visitor.open(f"{self.url}/connect/sentry/?tenant={self.tenant}")
        if visitor.page.url.path == "/login/":
            self.log_in(member)
        leaving = next(form for form in visitor.forms() if form.method == "post" and "logout" not in form.action)
        visitor.send(leaving)
        return self.approve(visitor, account)

    def approve(self, visitor: Visitor, account: str) -> str:
        """Log in at the provider unless that is done, allow everything, and where the browser is sent then."""
        if any("password" in form.fields for form in visitor.forms()):
            visitor.send(visitor.form_with("password"), email=account)
        return sent_back(visitor, visitor.form_with("pending"), op="approve")

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


def sent_back(visitor: Visitor, form: Form, **values: str) -> str:
    """Send a provider's form, follow it to the end, and the address of the product it leads to, not yet opened."""
    page = visitor.page.url
    answer = visitor.http.post(
        str(page.join(form.action)),
        data={**form.fields, **values},
        headers={"Origin": f"{page.scheme}://{page.netloc.decode()}"},
        follow_redirects=False,
    )
    while "/oauth/callback/" not in (to := str(answer.url.join(answer.headers["location"]))):
        answer = visitor.http.get(to, follow_redirects=False)
    return to


@contextmanager
def staged(
    database: str,
    *,
    settings: Mapping[str, str] | None = None,
    own_settings: Sequence[Mapping[str, str]] = ({}, {}),
    slow_database: bool = False,
    proxied: bool = False,
    kind: type[Stage] = Stage,
) -> Iterator[Stage]:
    """Database, provider and two product processes up, Sentry installed; everything ends with the block.

    Args:
        database: `postgresql` or `sqlite`.
        settings: further settings of the product.
        own_settings: what the environment of each replica has beside that.
        slow_database: whether a `Proxy` stands between product and PostgreSQL, which can be made slow.
        proxied: whether a `ProviderProxy` stands between product and provider.
        kind: says which provider it is.
    """
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: sys.exit(130))  # unwinds, so that nothing started here stays behind
    with ExitStack() as up:
        folder = Path(tempfile.mkdtemp(prefix="metaagent-faults-"))
        up.callback(shutil.rmtree, folder, ignore_errors=True)
        at, ports = services.free_port(), [services.free_port() for _ in own_settings]
        proxy = up.enter_context(ProviderProxy(at, token_path=kind.token_path)) if proxied else None
        found_at = proxy.port if proxy else at
        stage = kind(folder, database, *(f"http://127.0.0.1:{port}" for port in (ports[0], at, found_at)))
        stage.proxy = proxy
        ours = {
            "DATABASE_URL": _database(database, up),
            "VAR_DIR": str(folder),
            "SECRET_KEY": secrets.token_urlsafe(64),
            "PUBLIC_URL": stage.url,
            "EGRESS_ALLOW_CIDRS": "127.0.0.1/32",
            "EGRESS_ALLOW_HTTP_HOSTS": f"127.0.0.1:{at},127.0.0.1:{found_at}",
            **_LIMITS,
            **(settings or {}),
        }
        _set_up_django(ours, up)
        theirs = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | ours
        if slow_database and database == "postgresql":
            target = urlsplit(ours["DATABASE_URL"]).port or 5432
            stage.database_proxy = up.enter_context(Proxy(target))
            theirs["DATABASE_URL"] = ours["DATABASE_URL"].replace(f":{target}/", f":{stage.database_proxy.port}/")
        for number, port in enumerate(ports):
            replica = Replica(port, theirs | dict(own_settings[number]), folder / f"product-{number}.log")
            stage.replicas.append(replica)
            up.callback(replica.ended)
            replica.start()
        stage.serve_provider(at, theirs, up)  # while they come up
        stage.install()
        for act in (Replica.ended, Replica.told_to_end):  # before the provider ends, and all at the same time
            for replica in stage.replicas:
                up.callback(act, replica)
        for replica in stage.replicas:
            replica.ready()
        yield stage


def _set_up_django(ours: Mapping[str, str], up: ExitStack) -> None:
    """This process reads and writes the database as the product does, and is otherwise no part of it."""
    for name in ("REDIS_URL", "CELERY_BROKER_URL", "VAULT_KEK", "ALLOWED_HOSTS", "DEBUG"):
        os.environ.pop(name, None)
    redis = {"REDIS_URL", "CELERY_BROKER_URL"}
    os.environ |= {name: value for name, value in ours.items() if name not in redis}
    os.environ["DJANGO_SETTINGS_MODULE"] = "metaagent.settings"
    import django
    from django.core.management import call_command

    django.setup()
    up.callback(_closed)
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
