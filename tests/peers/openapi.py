"""Every operation of five vendors' documents, called at a mock server that is made from the same document.

Prism refuses what its document does not allow. Each operation is called with the arguments it needs, and once more
with all it takes, both made from its entry's schema alone, through the same client as in the product.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import httpx2

from providers.client import ApiClient
from providers.egress import Egress, EgressPolicy, Limits, RawReply
from providers.errors import ToolError
from providers.manifest import Entry
from providers.sources import openapi
from tests.peers.arguments import arguments
from tests.peers.place import Json, Place, Skipped, Wrong, hold, say
from tests.services import free_port

_VENDORS: Final = Path(__file__).resolve().parents[3] / "shared" / "providers"
DOCUMENTS: Final = {
    "GitHub": "node_modules/@octokit/openapi/generated/api.github.com.json",
    "Sentry": "sentry.openapi.json",
    "Figma": "figma.openapi.yaml",
    "Notion": "notion.openapi.json",
    "Asana": "asana.openapi.json",
}
_ENOUGH: Final = 0.99
_START_S: Final = 900
_REFUSED: Final = "https://stoplight.io/prism/errors#"
_ABOUT_THE_ANSWER: Final = (
    "NO_RESPONSE_DEFINED",
    "NOT_FOUND",
    "SCHEMA_TOO_COMPLEX",
    "NO_COMPLEX_OBJECT_TEXT",
    "UNKNOWN",
)
"""What Prism could not answer although it took the request."""


class _Token:
    def reveal(self) -> str:
        return "token"


class _Heard(Egress):
    """Remembers the answers."""

    replies: list[RawReply]

    async def fetch(self, *args: Any, **kwargs: Any) -> RawReply:
        reply = await super().fetch(*args, **kwargs)
        self.replies.append(reply)
        return reply


@dataclass(slots=True)
class Tally:
    """What came of the calls of one document."""

    called: int = 0
    accepted: int = 0
    refusals: list[str] = field(default_factory=list)


def walk(place: Place, only: str = "") -> None:
    """Every document. Raises: Wrong when too many requests are refused."""
    bad: list[str] = []
    for vendor, name in DOCUMENTS.items():
        path = place.home / name if "/" in name else _VENDORS / name
        if only.lower() not in vendor.lower():
            continue
        if not path.exists():
            raise Skipped(f"{vendor}'s own document is not there: {path}")
        port = free_port()
        began = time.perf_counter()
        document = openapi.read(path.read_bytes(), api_base=f"http://127.0.0.1:{port}", any_scope=True)
        took = time.perf_counter() - began
        with _served(place, vendor, path, port):
            needed, every = asyncio.run(_called(document, port))
        say(f"\n   {vendor}: {len(document.entries)} of {len(document.operations)} operations, read in {took:.2f} s")
        for skipped in document.skipped:
            say(f"     left out: {skipped.operation}: {skipped.reason}")
        for what, tally in (("what is needed", needed), ("everything", every)):
            share = tally.accepted / tally.called
            say(f"     with {what}: {tally.accepted} of {tally.called} accepted ({share:.2%})")
            for refusal, count in Counter(tally.refusals).most_common(40):
                say(f"       {refusal}{f' ({count} times)' if count > 1 else ''}")
            if share < _ENOUGH:
                bad.append(f"{vendor} with {what}")
    hold(not bad, f"fewer than 99 % were accepted: {', '.join(bad)}")


async def _called(document: openapi.Document, port: int) -> tuple[Tally, Tally]:
    slow = Limits(first_byte_s=300, total_s=600)  # Prism makes what it needs of a document as it is asked for it
    policy = replace(EgressPolicy.parse("127.0.0.1/32", f"127.0.0.1:{port}"), limits=slow)
    needed, every = Tally(), Tally()
    async with _Heard(policy) as egress:
        for entry in document.entries:
            for tally in (needed, every):
                await _one(egress, port, document, entry, tally, whole=tally is every)
    return needed, every


async def _one(
    egress: _Heard, port: int, document: openapi.Document, entry: Entry, tally: Tally, *, whole: bool
) -> None:
    base = f"http://127.0.0.1:{port}"
    api = ApiClient(egress, base, base, _Token())
    made = arguments(entry.schema, every=whole)
    if whole and "page" in entry.call:
        made = {name: value for name, value in made.items() if name not in entry.call["page"]["args"][1:]}
    egress.replies = []
    tally.called += 1
    failed = ""
    try:
        await openapi.invoke(entry, document.facts["title"])(api, made)
    except ToolError as error:
        failed = str(error)
    if not egress.replies:
        tally.refusals.append(f"{entry.name}: not sent: {failed}")
        return
    # What follows is made of what Prism makes up as the next page.
    if (why := _objection(egress.replies[0])) == "":
        tally.accepted += 1
    else:
        tally.refusals.append(f"{entry.name}: {why}")


def _objection(reply: RawReply) -> str:
    """What Prism says is wrong with a request; empty when nothing is."""
    told = _json(reply.body)
    kind = str(told.get("type")) if isinstance(told, dict) else ""
    if kind.startswith(_REFUSED) and kind.removeprefix(_REFUSED) not in _ABOUT_THE_ANSWER:
        listed = [f"{'.'.join(map(str, each['location']))}: {each['message']}" for each in told.get("validation", ())]
        return f"{reply.status} {'; '.join(listed)[:300] or told.get('detail')}"
    violations = re.findall(r'"location":\["request"[^}]*', reply.headers.get("sl-violations", ""))
    errors = [each for each in violations if '"severity":"Error"' in each]  # to use what is deprecated is a warning
    return f"{reply.status} {errors[0][:300]}" if errors else ""


def _json(body: bytes) -> Json:
    try:
        return json.loads(body)
    except ValueError:
        return None


@contextmanager
def _served(place: Place, vendor: str, document: Path, port: int) -> Iterator[None]:
    """Prism with one document for the time of the block. Raises: Wrong."""
    node, *rest = place.node("prism", "mock", "--host", "127.0.0.1", "--port", str(port), str(document))
    said = place.said(f"prism-{vendor.lower()}")
    with said.open("wb") as log:
        command = (node, "--max-old-space-size=8192", *rest)
        process = subprocess.Popen(command, env=place.environment, cwd=place.run, stdout=log, stderr=log)
    try:
        ends = time.monotonic() + _START_S
        while True:
            try:
                httpx2.get(f"http://127.0.0.1:{port}/", trust_env=False, timeout=30)
                break
            except httpx2.HTTPError:
                if process.poll() is not None or time.monotonic() > ends:
                    raise Wrong(f"Prism did not start with {vendor}'s document; see {said}") from None
                time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait(30)
