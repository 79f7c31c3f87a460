"""The suite as an MCP client that has to be let in, and the person who lets it in."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

import httpx2

from metaagent.visitor import Visitor
from tests.peers.place import Place, hold
from tests.services import free_port

SCENARIOS = ("authorization-server-metadata-endpoint", "authorization-code-grant")
_PATIENCE_S = 120


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever has to approve."""

    email: str
    password: str

    def let_in(self, link: str) -> None:
        """Open what the client printed, log in, allow, and go where that leads. Raises: LookupError."""
        with Visitor() as browser:
            browser.open(link)
            browser.send(browser.form_with("password"), email=self.email, password=self.password)
            browser.send(browser.form_with("answer"), answer="allow")


def run(place: Place, issuer: str, resource: str, person: Person, out: Path) -> str:
    """Register the suite as a client and run its scenarios; what it printed. Raises: Wrong, LookupError."""
    port = free_port()
    client = _registered(issuer, f"http://127.0.0.1:{port}/callback")
    command = place.node(
        *("conformance", "authorization", "--url", issuer, "--client-id", client, "--resource", resource),
        *("--port", str(port), "--output-dir", str(out)),
    )
    return _driven(place, command, f"{issuer}/o/authorize/?", person)


def _registered(issuer: str, redirect_uri: str) -> str:
    """The client id of a new public client (RFC 7591). Raises: Wrong."""
    wanted = {
        "client_name": "MCP conformance suite",
        "redirect_uris": [redirect_uri],
        "token_endpoint_auth_method": "none",
    }
    answer = httpx2.post(f"{issuer}/o/register/", json=wanted, trust_env=False)
    found = f"{answer.status_code} {answer.text[:200]}"
    hold(answer.status_code == 201, f"the suite could not register itself as a client: {found}")
    return str(answer.json()["client_id"])


def _driven(place: Place, command: Sequence[str], link: str, person: Person) -> str:
    """Run the suite, and open the link it prints and then waits for."""
    with subprocess.Popen(
        command, env=place.environment, cwd=place.run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as suite:
        limit = Timer(_PATIENCE_S, suite.kill)
        limit.start()
        try:
            said = []
            for line in suite.stdout or ():
                said.append(line)
                if line.startswith(link):
                    person.let_in(line.strip())
            return "".join(said)
        finally:
            limit.cancel()
            suite.kill()
