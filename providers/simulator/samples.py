"""The tools of a catalogue file against exchanges written after its provider's public documentation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

from jsonschema import Draft202012Validator

from providers.client import ApiClient
from providers.egress import Egress, EgressPolicy, RawReply
from providers.errors import Forbidden, TokenRejected, ToolError, TooManyRequests, Unavailable
from providers.simulator import Finding
from providers.spec import Effect, Json, ProviderSpec, Result, ToolSpec

_FOLDER: Final = Path(__file__).parent / "samples"
_REFUSALS: Final = Path(__file__).parent / "refusals.json"
_WAIT_S: Final = 7


class _Token:
    def reveal(self) -> str:
        return "simulated"


class NoSample(Exception):
    """A tool sent something that no exchange of its sample answers."""


@cache
def samples_of(slug: str) -> Mapping[str, Json]:
    """By tool: `args`, the `exchanges` in the order they are sent, and what the text of the result `says`.

    Empty where there are none.
    """
    file = _FOLDER / f"{slug}.json"
    found: Mapping[str, Json] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


@cache
def _refusals() -> Mapping[str, Sequence[Json]]:
    """By provider: answers that say no in its own way, and the failure each `means`."""
    found: Mapping[str, Sequence[Json]] = json.loads(_REFUSALS.read_text(encoding="utf-8"))
    return found


class Recorded(Egress):
    """A way out that leads to a sample: each exchange answers once, the first that fits."""

    def __init__(self, api_base: str, exchanges: Sequence[Json]) -> None:
        super().__init__(EgressPolicy())
        self.left = list(exchanges)
        self._api_base = api_base

    async def fetch(self, method: str, url: str, **sent: Any) -> RawReply:  # noqa: ANN401 - as `Egress.fetch` takes it
        """See `Egress.fetch`. Raises: NoSample."""
        origin, path = urlsplit(self._api_base), urlsplit(url).path
        if not url.startswith(f"{self._api_base}/"):
            raise NoSample(f"{method} {url} leads away from the API.")
        path = path.removeprefix(origin.path)
        query, body = parse_qs(urlsplit(url).query), _body(sent.get("headers") or {}, sent.get("body"))
        for exchange in self.left:
            asked = {name: _texts(value) for name, value in exchange.get("query", {}).items()}
            if (
                exchange["send"] == f"{method} {path}"
                and _holds(query, asked)
                and _holds(body, exchange.get("body", body))
            ):
                self.left.remove(exchange)
                return reply_of(exchange)
        raise NoSample(f"Nothing answers {method} {path}.")


class Always(Egress):
    """A way out that answers everything alike."""

    def __init__(self, exchange: Json) -> None:
        super().__init__(EgressPolicy())
        self._exchange = exchange

    async def fetch(self, *_: Any, **__: Any) -> RawReply:  # noqa: ANN401 - whatever is sent
        """See `Egress.fetch`."""
        return reply_of(self._exchange)


def reply_of(exchange: Json) -> RawReply:
    """The answer of one exchange, as it would come over the wire."""
    answer = exchange.get("answer")
    said = {name.lower(): value for name, value in exchange.get("headers", {}).items()}
    kind = "text/plain" if isinstance(answer, str) else "application/json"
    body = answer if isinstance(answer, str) else "" if answer is None else json.dumps(answer)
    return RawReply(exchange.get("status", 200), {"content-type": kind, **said}, body.encode())


def client_of(provider: ProviderSpec, egress: Egress) -> ApiClient:
    """The provider's API with a token of the simulator's."""
    return ApiClient(
        egress,
        provider.api_base,
        provider.web_base or provider.api_base,
        _Token(),
        headers=provider.headers,
        refusal_of=provider.refusal_of,
    )


async def run(provider: ProviderSpec, tool: ToolSpec, sample: Json) -> Result:
    """What a tool makes of its sample. Raises: ToolError, NoSample; also when an exchange is left."""
    egress = Recorded(provider.api_base, sample["exchanges"])
    result = await tool.invoke(client_of(provider, egress), sample["args"])
    if egress.left:
        raise NoSample(f"{egress.left[0]['send']} was not sent.")
    return result


def tried(provider: ProviderSpec) -> list[Finding]:
    """Every tool with its sample, and what comes of answers that say no."""
    samples = samples_of(provider.id)
    return asyncio.run(_tried(provider, samples))


async def _tried(provider: ProviderSpec, samples: Mapping[str, Json]) -> list[Finding]:
    findings = [await _tool(provider, tool, samples.get(tool.name)) for tool in provider.tools]
    reads = [tool for tool in provider.tools if tool.effect is Effect.READ and tool.name in samples]
    if reads:
        tool = reads[0]
        sample = samples[tool.name]
        findings += [
            await _refused(f"{name} is understood", provider, tool, sample, exchange, failure)
            for name, exchange, failure in _common()
        ]
        findings += [
            await _refused(f"“{each['name']}” is understood", provider, tool, sample, each, _FAILURES[each["means"]])
            for each in _refusals().get(provider.id, ())
        ]
    return findings


_FAILURES: Final[Mapping[str, type[ToolError]]] = {
    each.__name__: each for each in (Forbidden, TokenRejected, TooManyRequests, Unavailable)
}


def _common() -> list[tuple[str, Json, type[ToolError]]]:
    """What every provider may answer."""
    wait = {"Retry-After": str(_WAIT_S)}
    return [
        (
            "429 with Retry-After",
            {"status": HTTPStatus.TOO_MANY_REQUESTS, "headers": wait, "answer": {}},
            TooManyRequests,
        ),
        ("401 for a token that is over", {"status": HTTPStatus.UNAUTHORIZED, "answer": {}}, TokenRejected),
        ("403", {"status": HTTPStatus.FORBIDDEN, "answer": {}}, Forbidden),
        ("a page instead of data", {"answer": "<html>"}, Unavailable),
    ]


async def _tool(provider: ProviderSpec, tool: ToolSpec, sample: Json) -> Finding:
    name = f"tool {tool.name}"
    if sample is None:
        return Finding(name, ok=None, note="no sample")
    if not Draft202012Validator(tool.schema).is_valid(sample["args"]):
        return Finding(name, ok=False, note="its sample's arguments do not fit its schema")
    try:
        result = await run(provider, tool, sample)
    except (ToolError, NoSample) as failed:
        return Finding(name, ok=False, note=str(failed))
    missing = [words for words in sample["says"] if words not in result.text]
    return Finding(name, ok=not missing, note=f"does not say {missing[0]!r}" if missing else "")


async def _refused(
    name: str, provider: ProviderSpec, tool: ToolSpec, sample: Json, exchange: Json, failure: type[ToolError]
) -> Finding:
    """Whether an answer is taken for the failure it is."""
    try:
        await tool.invoke(client_of(provider, Always(exchange)), sample["args"])
    except ToolError as failed:
        wait_s = getattr(failed, "retry_after_s", None)
        stated = "Retry-After" not in exchange.get("headers", {}) or wait_s == _WAIT_S
        return Finding(name, ok=type(failed) is failure and stated, note=type(failed).__name__)
    return Finding(name, ok=False, note="taken for an answer")


def _body(headers: Mapping[str, str], body: bytes | None) -> Json:
    kind = headers.get("Content-Type", "")
    if not body or "json" in kind:
        return json.loads(body) if body else None
    return dict(parse_qsl(body.decode())) if "x-www-form-urlencoded" in kind else body.decode()


def _holds(whole: Json, part: Json) -> bool:
    """Whether `whole` has at least what `part` has; the parts of a list at their places."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and _holds(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(_holds, whole, part))
    return bool(whole == part)


def _texts(value: Json) -> list[str]:
    several = value if isinstance(value, list) else [value]
    return [each if isinstance(each, str) else json.dumps(each) for each in several]
