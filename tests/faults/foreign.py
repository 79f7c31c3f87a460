"""The same against an authorization server written elsewhere: oidc-provider, with rotation and reuse detection on.

Connecting on its pages, calls, the race at every expiry, `kill -9` in refreshes, disconnecting and what its
introspection says then. It needs npm, as `make peers` does, and uses what that installs. What it counts it cannot be
asked; the proxy before its token endpoint sees every presentation.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import httpx2

from metaagent.visitor import Visitor
from tests.faults.calls import Json
from tests.faults.crash import Refreshes
from tests.faults.proxies import Exchange
from tests.faults.race import TTL_S, race
from tests.faults.replicas import awaited
from tests.faults.stage import TENANT, Stage, Verdict, options, sent_back, staged
from tests.peers.place import Place

ACCOUNT = "ada@example.com"
_SCOPES = "openid org:read project:read event:read"


class Foreign(Stage):
    """With oidc-provider as provider, and before its token endpoint a proxy."""

    token_path = "/token"
    token_s = TTL_S

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.client: dict[str, str] = {}
        self._before: Json = {"revocations": 0, "refreshes": 0}
        self._since = 0

    def serve_provider(self, port: int, _environment: Mapping[str, str], up: ExitStack, /) -> None:
        place = Place.prepared()
        log = self.folder / "oidc-provider.log"
        with log.open("wb") as said:
            process = subprocess.Popen(
                place.node("authorization_server.mjs", str(port), "0", str(self.token_s)),
                env=place.environment,
                cwd=place.run,
                stdout=said,
                stderr=said,
            )
        up.callback(process.wait)
        up.callback(process.terminate)
        awaited(f"{self.sandbox}/_seen", process, log)

    def install(self) -> None:
        direct, proxied = self.sandbox, self.provider
        self.manage("tenant_create", TENANT)
        install = (
            *("provider_install", TENANT, "sentry", "--api-base", direct, "--scopes", _SCOPES, "--issuer", direct),
            *("--authorize-url", f"{direct}/auth", "--token-url", f"{proxied}/token"),
            *("--revoke-url", f"{direct}/token/revocation", "--identify-url", f"{direct}/me", "--client-secret-stdin"),
        )
        uri = self.manage(*install, "--client-id", "to-be-registered", stdin="to-be-registered")["redirect_uri"]
        wish = {
            "redirect_uris": [uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "client_secret_post",
            "scope": _SCOPES,
        }
        registered = self._post("/reg", wish).json()
        self.client = {name: registered[name] for name in ("client_id", "client_secret")}
        self.manage(*install, f"--client-id={self.client['client_id']}", stdin=self.client["client_secret"])

    def approve(self, visitor: Visitor, account: str) -> str:
        if any("login" in form.fields for form in visitor.forms()):
            visitor.send(visitor.form_with("login"), login=account.partition("@")[0], password="any")
        return sent_back(visitor, visitor.form_with("prompt"))

    def seen(self) -> Json:
        """What the server counted itself."""
        return httpx2.get(f"{self.sandbox}/_seen", trust_env=False).json()

    def reset(self) -> None:
        assert self.proxy is not None
        self._before, self._since = self.seen(), len(self.proxy.exchanges)

    def stats(self) -> Json:
        """As the sandbox counts; what it cannot be asked, from what passed the proxy."""
        assert self.proxy is not None
        seen, requests = self.seen(), self.proxy.exchanges[self._since :]
        refreshes = [each for each in requests if each.path == self.token_path and "refresh_token" in each.form]
        presented = self.proxy.presentations()
        return {
            "refreshes": seen["refreshes"] - self._before["refreshes"],
            "families_revoked": seen["revocations"] - self._before["revocations"],
            "max_presentations_of_one_token": max((presented[each.presented] for each in refreshes), default=0),
            "max_in_flight_per_grant": max((self._at_once(each, refreshes) for each in refreshes), default=0),
        }

    def faults(self, **faults: Json) -> None:
        """It behaves; its tokens live as long as it was started with."""

    def lives(self, token: str) -> bool:
        """Whether its introspection calls a token active (RFC 7662)."""
        answer = httpx2.post(
            f"{self.sandbox}/token/introspection", data={**self.client, "token": token}, trust_env=False
        )
        return bool(answer.raise_for_status().json()["active"])

    def _at_once(self, one: Exchange, requests: list[Exchange]) -> int:
        assert self.proxy is not None
        grant = self.proxy.grants[one.presented]
        same = [each for each in requests if self.proxy.grants[each.presented] == grant]
        return sum(each.sent <= one.sent < (each.returned or one.sent + 1) for each in same)


def main() -> int:
    """Run what was asked for."""
    asked = options(__doc__, rounds=20, kills=3)
    rounds, kills = (3, 1) if asked.quick else (asked.rounds, asked.kills)
    held = []
    with staged(asked.database, proxied=True, slow_database=True, kind=Foreign) as stage:
        verdict = Verdict("foreign: race", {"database": asked.database})
        member = stage.member("person@example.com")
        connection = stage.connect(member, ACCOUNT)
        caller = stage.caller(member, ACCOUNT)
        race(stage, verdict, {connection.pk: caller}, rounds=rounds, each=50, killed=False)
        held.append(verdict.printed())

        verdict = Verdict("foreign: disconnected", {"database": asked.database})
        verdict.hold(stage.ask(caller).right, "no right answer before")
        assert isinstance(stage, Foreign)
        tokens = [stage.seen()["accessToken"], stage.seen()["refreshToken"]]
        verdict.figures["active_before"] = [stage.lives(token) for token in tokens]
        stage.manage("connection_revoke", str(connection.pk))
        verdict.figures["active_after"] = [stage.lives(token) for token in tokens]
        verdict.hold(all(verdict.figures["active_before"]), "the tokens were dead before")
        verdict.hold(not any(verdict.figures["active_after"]), "a token outlived its connection")
        stage.settled()
        verdict.hold(stage.ask(caller).error.get("code") == "needs_auth", "the next call was not told to connect")
        held.append(verdict.printed())

        verdict = Verdict("foreign: crash in a refresh", {"database": asked.database, "seed": asked.seed})
        chance = random.Random(asked.seed)  # noqa: S311 - when to kill
        Refreshes(stage, verdict, chance, people=4).run(kills)
        held.append(verdict.printed())
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
