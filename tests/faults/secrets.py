"""A whole run at LOG_LEVEL=DEBUG, and then a search for every secret used in it, in everything that was written.

Connecting, calls, refreshes, failures of every kind, wrong log-ins, a link opened by somebody else, disconnecting, the
commands. The secrets are known because a proxy before the provider kept what passed it, and the browsers what they were
given. They are looked for as they are and as hex, base64 and percent-encoded text in: what every process said, a full
dump of the database, Redis, the product's folder, every page, and every answer to a client (which hold connect links,
and must). That the search finds what is there is shown on the proxy's own record.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, urlsplit
from uuid import UUID

import httpx2

from tests.faults import redises
from tests.faults.calls import Caller, Reply
from tests.faults.stage import ACCOUNTS, PASSWORD, TENANT, Member, Stage, Verdict, options, staged

_LONG = re.compile(r"[A-Za-z0-9+/_-]{40,}=*")
_LEAST = 16
"""Nothing shorter is looked for: it would be found by chance."""


def main() -> int:
    """Run what was asked for."""
    asked = options(__doc__)
    with ExitStack() as up:
        redis = up.enter_context(redises.served("good"))
        stage = up.enter_context(
            staged(asked.database, settings={"LOG_LEVEL": "DEBUG", "REDIS_URL": redis.url}, proxied=True)
        )
        verdict = Verdict("secrets", {"database": asked.database})
        run = Run(stage)
        run.everything()
        written = run.written() | {"redis": _redis(redis.url)}
        for replica in stage.replicas:
            replica.ended()
        written |= {f"log of {replica.log.stem} at its end": replica.log.read_bytes() for replica in stage.replicas}
        search(verdict, run.secrets(), written, record=run.record())
        return 0 if verdict.printed() else 1


@dataclass(slots=True)
class Run:
    """Everything that can happen to one connection, and what was said about it."""

    stage: Stage
    pages: list[str] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    found: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Secrets by kind, as far as the browsers and this script know them."""

    def everything(self) -> None:
        """The run."""
        stage = self.stage
        member, other = self._member("person@example.com"), self._member("other@example.com")
        caller = stage.caller(member, ACCOUNTS[0])
        self.replies.append(stage.ask(caller))
        link = self.replies[-1].error["connect_url"]
        self.found["connect link"].update(parse_qs(urlsplit(link).query)["link"])
        self._wrong_log_ins(member)
        self._opened_by_another(other, link)
        connection = stage.connect(member, ACCOUNTS[0])
        for replica in (0, 1):
            self.replies.append(stage.ask(caller, replica))
        self._renewed_under(caller, connection.pk, {})
        for faults in ({"status": 401, "times": 1}, {"status": 403}, {"status": 500}, {"body": "html"}):
            stage.faults(**faults)
            self.replies.append(stage.ask(caller))
        for fault in ("500_before", "html", "500_after"):
            self._renewed_under(caller, connection.pk, {"token": fault})
        self._renewed_under(caller, connection.pk, {})
        self._callbacks(member)
        stage.connect(member, ACCOUNTS[0])
        self.replies.append(stage.ask(caller))
        for path in ("/connections/", "/healthz", "/readyz", "/metrics", "/console/acme/", "/nowhere/"):
            member.visitor.open(f"{stage.url}{path}")
        stage.manage("connection_list", TENANT)
        stage.manage("audit_export", TENANT, "--out", str(stage.folder / "audit.jsonl"))
        self._disconnect(member)
        self.replies.append(stage.ask(caller))

    def written(self) -> dict[str, bytes]:
        """What there is to search, by where it is."""
        folder = self.stage.folder
        # The key encryption key is in the folder in plain text, where the deployment is told to put it; in no other.
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != "vault.key"]
        return {
            "database": self._dump(),
            "pages": "\n".join(self.pages).encode(),
            "answers": "\n".join(json.dumps(reply.result) for reply in self.replies).encode(),
            **{str(path.relative_to(folder)): path.read_bytes() for path in files},
        }

    def record(self) -> bytes:
        """What passed the proxy."""
        proxy = self.stage.proxy
        return b"\n".join(each.head + each.body + each.answer for each in proxy.exchanges) if proxy else b""

    def secrets(self) -> dict[str, set[str]]:
        """Every secret used, by kind."""
        found = self.found
        for exchange in self.stage.proxy.exchanges if self.stage.proxy else ():
            form = exchange.form
            for name, kind in (
                *(("code", "code"), ("code_verifier", "PKCE verifier"), ("client_secret", "client secret")),
                *(("refresh_token", "refresh token"), ("token", "token to revoke")),
            ):
                found[kind].update([form[name]] if name in form else [])
            for line in exchange.head.decode(errors="replace").splitlines():
                if line.lower().startswith("authorization: "):
                    found["access token"].add(line.split()[-1])
            try:
                answer = json.loads(exchange.answer.partition(b"\r\n\r\n")[2])
            except ValueError:
                continue
            if isinstance(answer, dict):
                for name in ("access_token", "refresh_token"):
                    found[name.replace("_", " ")].update([answer[name]] if name in answer else [])
        found["SECRET_KEY"].add(os.environ["SECRET_KEY"])
        found["key encryption key"].update(_LONG.findall((self.stage.folder / "vault.key").read_text(encoding="utf-8")))
        return found

    def _member(self, email: str) -> Member:
        member = self.stage.member(email)
        self.found["password"].add(PASSWORD)
        self.found["client key"].add(member.key)
        member.visitor.http.event_hooks["response"].append(self._seen)
        return member

    def _seen(self, answer: httpx2.Response) -> None:
        """A page, and the cookies that came with it."""
        answer.read()
        if (
            answer.url.port != urlsplit(self.stage.sandbox).port
            and answer.url.port != urlsplit(self.stage.provider).port
        ):
            self.pages.append(answer.text)
            for name, value in answer.cookies.items():
                if name != "csrf":  # it is in the page's forms, and gives nobody anything
                    self.found[f"{name} cookie"].add(value)
            self.found["state"].update(parse_qs(urlsplit(answer.headers.get("location", "")).query).get("state", ()))

    def _wrong_log_ins(self, member: Member) -> None:
        wrong = "Tr0ub4dor&3-is-not-it-either"
        self.found["password"].add(wrong)
        visitor = Member(member.email, "").visitor
        visitor.http.event_hooks["response"].append(self._seen)
        visitor.open(f"{self.stage.url}/login/")
        visitor.send(visitor.form_with("password"), email=member.email, password=wrong)

    def _opened_by_another(self, other: Member, link: str) -> None:
        other.visitor.open(link)
        self.stage.log_in(other)
        assert other.visitor.page.status_code == 403, other.visitor.page.status_code

    def _renewed_under(self, caller: Caller, connection: UUID, faults: dict[str, str]) -> None:
        from vault.models import SealedTokenSet

        self.stage.faults(**faults)
        SealedTokenSet.objects.filter(pk=connection).update(retry_after=None)
        self.stage.expire([connection])
        self.stage.settled()
        self.replies.append(self.stage.ask(caller))
        self.stage.faults()

    def _callbacks(self, member: Member) -> None:
        """A wrong state, somebody else's browser, a denial."""
        stage = self.stage
        address = stage.callback_of(member, ACCOUNTS[0])
        self.found["code"].update(parse_qs(urlsplit(address).query)["code"])
        stranger = Member("", "").visitor
        stranger.http.event_hooks["response"].append(self._seen)
        stranger.open(address)
        member.visitor.open(address.replace("state=", "state=x"))
        member.visitor.open(address.replace("code=", "error=access_denied&was="))

    def _disconnect(self, member: Member) -> None:
        visitor = member.visitor
        visitor.open(f"{self.stage.url}/connections/")
        form = next(form for form in visitor.forms() if "/disconnect/" in form.action)
        visitor.send(form)

    def _dump(self) -> bytes:
        """All rows as text."""
        if self.stage.database == "sqlite":
            import sqlite3

            with sqlite3.connect(self.stage.folder / "metaagent.sqlite3") as database:
                return "\n".join(database.iterdump()).encode()
        dump = subprocess.run(
            ["pg_dump", "--data-only", "--inserts", os.environ["DATABASE_URL"]],  # noqa: S607 - the machine's own
            capture_output=True,
            check=True,
        )
        return dump.stdout


def search(verdict: Verdict, secrets: dict[str, set[str]], written: dict[str, bytes], *, record: bytes) -> None:
    """Look for every secret everywhere; which kind was found where is a failure."""
    record_lower = record.lower()
    hits: dict[str, set[str]] = defaultdict(set)
    lowered = {place: text.lower() for place, text in written.items()}
    for kind, values in secrets.items():
        for value in values:
            if len(value) < _LEAST:
                continue
            for place, text in lowered.items():
                if (kind, place) not in _MEANT and any(form in text for form in _forms(value)):
                    hits[kind].add(place)
    control = [v for kind in ("access token", "refresh token", "code", "client secret") for v in secrets[kind]]
    seen = sum(any(form in record_lower for form in _forms(value)) for value in control)
    verdict.figures |= {
        "secrets": {kind: len(values) for kind, values in secrets.items()},
        "searched": {place: len(text) for place, text in sorted(written.items())},
        "found_in_the_record": f"{seen} of {len(control)}",
    }
    for kind, places in hits.items():
        verdict.hold(False, f"{kind} found in {', '.join(sorted(places))}")
    for kind in ("access token", "refresh token", "code", "PKCE verifier", "client secret", "session cookie", "state"):
        verdict.hold(bool(secrets[kind]), f"no {kind} was used: the run shows nothing")
    verdict.hold(seen >= len(control) - 1, "the search does not find what is there")


_MEANT = frozenset({("connect link", "answers"), ("connect link", "pages")})
"""A link is handed to the client, and stands in the address of the page it opens."""


def _forms(value: str) -> list[bytes]:
    """How a secret may be written, in lower case."""
    raw = value.encode()
    encoded = base64.b64encode(raw).rstrip(b"=")
    return [form.lower() for form in (raw, raw.hex().encode(), encoded, quote(value, safe="").encode())]


def _redis(url: str) -> bytes:
    """Every key with its value."""
    import redis

    client = redis.Redis.from_url(url)
    return b"\n".join(key + b"\n" + (client.dump(key) or b"") for key in client.scan_iter())


if __name__ == "__main__":
    sys.exit(main())
