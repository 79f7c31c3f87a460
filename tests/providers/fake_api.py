"""A provider's API that answers from a dictionary."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from providers.errors import NotFound
from providers.spec import Json, Reply, Request


@dataclass
class FakeApi:
    """Answers a path, or "PUT path", with what `answers` holds for it.

    That is JSON, a `Reply`, an error to raise, or a function that makes one of them of the query parameters.
    """

    answers: Mapping[str, Json] = field(default_factory=dict)
    web_base: str = "https://sentry.io"
    asked: list[tuple[str, Mapping[str, Json]]] = field(default_factory=list)
    sent: list[tuple[str, str, Json]] = field(default_factory=list)

    session: MutableMapping[str, Json] = field(default_factory=dict)

    async def request(self, request: Request) -> Reply:
        if request.repeat and request.method == "GET":
            return await self.get(request.path, dict(parse_qsl(request.query)))
        return await self.send(request.method, request.path, request.body)

    async def get(self, path: str, params: Mapping[str, Json] | None = None) -> Reply:
        self.asked.append((path, params or {}))
        return self._reply(path, params or {})

    async def send(self, method: str, path: str, body: Json = None) -> Reply:
        self.sent.append((method, path, body))
        return self._reply(f"{method} {path}", {})

    def params_of(self, ending: str) -> list[Mapping[str, Json]]:
        """What the paths with that ending were asked with, in order."""
        return [params for path, params in self.asked if path.endswith(ending)]

    def _answer(self, key: str) -> Json:
        if key not in self.answers:
            raise NotFound("The provider has no such thing.")
        return self.answers[key]

    def _reply(self, key: str, params: Mapping[str, Json]) -> Reply:
        answer = self._answer(key)
        if callable(answer):
            answer = answer(params)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Reply) else Reply(200, {}, b"", answer)


class SameAnswer(FakeApi):
    """Answers everything alike."""

    def __init__(self, data: Json, *, web_base: str) -> None:
        super().__init__(web_base=web_base)
        self._data = data

    def _answer(self, key: str) -> Json:  # noqa: ARG002 - whatever the path
        return self._data
