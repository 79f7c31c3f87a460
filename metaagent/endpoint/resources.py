"""Full results and runs as MCP resources: each principal lists, reads and completes its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mcp import types
from mcp.shared.exceptions import MCPError

from metaagent.agent.runs import Noted
from metaagent.agent.service import Agent
from metaagent.agent.types import RESULT_URI, RUN_URI, Principal

RUN_TEMPLATE, RESULT_TEMPLATE = f"{RUN_URI}{{id}}", f"{RESULT_URI}{{id}}{{?offset}}"
_JSON = "application/json"
_URI = re.compile(rf"({RUN_URI}|{RESULT_URI})([A-Za-z0-9_-]{{1,64}})(?:\?(.*))?")
_OFFSET = re.compile(r"offset=([0-9]{1,18})")
_CONTINUES = 0b10
"""The two highest bits of a byte inside a UTF-8 character."""


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a document, never ending inside a character."""

    text: str
    next: int | None
    """Where the next one begins, in bytes."""


def page(body: bytes, offset: int, most: int) -> Page | None:
    """At most `most` (4 or more) bytes of `body` from `offset` on, or None when no page begins there."""
    if offset and (offset >= len(body) or body[offset] >> 6 == _CONTINUES):
        return None
    end = offset + most
    while end < len(body) and body[end] >> 6 == _CONTINUES:
        end -= 1
    return Page(body[offset:end].decode(), end if end < len(body) else None)


@dataclass(frozen=True, slots=True)
class Resources:
    """What answers leave behind."""

    agent: Agent
    page_bytes: int

    async def listed(self, principal: Principal, provider: str | None) -> types.ListResourcesResult:
        """The newest runs and their full results, those of this endpoint's provider; newest first."""
        resources: list[types.Resource] = []
        for run in await self._recent(principal, provider):
            when = types.Annotations(last_modified=run.at.isoformat(timespec="seconds"))
            about = f"{run.provider_id}, {run.state.value}"
            resources.append(types.Resource(uri=run.uri, name=run.id, title=about, mime_type=_JSON, annotations=when))
            if run.stored:
                resources.append(
                    types.Resource(
                        uri=run.stored.uri,
                        name=run.stored.id,
                        title=f"full result of {run.id}",
                        mime_type=_JSON,
                        size=run.stored.size,
                        annotations=when,
                    )
                )
        return types.ListResourcesResult(resources=resources, ttl_ms=0, cache_scope="private")

    def templates(self) -> types.ListResourceTemplatesResult:
        """How the addresses are made."""
        run = types.ResourceTemplate(
            uri_template=RUN_TEMPLATE,
            name="run",
            description="What became of a call, by its telemetryId: running, the answer, or why there is none.",
            mime_type=_JSON,
        )
        result = types.ResourceTemplate(
            uri_template=RESULT_TEMPLATE,
            name="result",
            description="The full result behind an answer, in pages; each names the next one.",
            mime_type=_JSON,
        )
        return types.ListResourceTemplatesResult(
            resource_templates=[run, result], ttl_ms=3_600_000, cache_scope="private"
        )

    async def read(self, principal: Principal, uri: str) -> types.ReadResourceResult:
        """A run, or a page of a result. Raises: MCPError, the same for what is unknown, another's, and too long ago."""
        found = _URI.fullmatch(uri)
        if found and found[1] == RUN_URI and found[3] is None:
            body = await self.agent.read_run(principal, found[2])
            return _contents(uri, _JSON, body.decode()) if body else _gone(uri)
        if found and found[1] == RESULT_URI:
            body = await self.agent.read_result(principal, found[2])
            return self._page(uri, found[2], found[3], body) if body else _gone(uri)
        return _gone(uri)

    def _page(self, uri: str, result_id: str, query: str | None, body: bytes) -> types.ReadResourceResult:
        said = _OFFSET.fullmatch("offset=0" if query is None else query)
        offset = int(said[1]) if said else 0
        found = page(body, offset, self.page_bytes) if said else None
        if found is None:
            sentence = "offset must be a byte where a page begins: leave it out, or use the address the last page gave."
            raise MCPError(code=types.INVALID_PARAMS, message=sentence)
        meta: dict[str, Any] = {"metaagent/offset": offset, "metaagent/totalBytes": len(body)}
        if found.next is not None:
            meta["metaagent/next"] = f"{RESULT_URI}{result_id}?offset={found.next}"
        whole = offset == 0 and found.next is None
        return _contents(uri, _JSON if whole else "text/plain", found.text, meta)

    async def completed(
        self, principal: Principal, provider: str | None, params: types.CompleteRequestParams
    ) -> types.CompleteResult:
        """Ids that begin like this, newest first. Raises: MCPError for what is not one of our templates."""
        if not isinstance(params.ref, types.ResourceTemplateReference):
            raise MCPError(code=types.INVALID_PARAMS, message="There are no prompts here.")
        recent = await self._recent(principal, provider)
        match params.ref.uri, params.argument.name:
            case (uri, "id") if uri == RUN_TEMPLATE:
                ids = [run.id for run in recent]
            case (uri, "id") if uri == RESULT_TEMPLATE:
                ids = [run.stored.id for run in recent if run.stored]
            case (uri, "offset") if uri == RESULT_TEMPLATE:
                ids = []
            case _:
                raise MCPError(code=types.INVALID_PARAMS, message="There is no such template, or no such part of it.")
        values = [each for each in ids if each.startswith(params.argument.value)]
        return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))

    async def _recent(self, principal: Principal, provider: str | None) -> list[Noted]:
        return [run for run in await self.agent.recent(principal) if provider in {None, run.provider_id}]


def _contents(uri: str, mime_type: str, text: str, meta: dict[str, Any] | None = None) -> types.ReadResourceResult:
    contents = types.TextResourceContents(uri=uri, mime_type=mime_type, text=text, _meta=meta)
    return types.ReadResourceResult(contents=[contents], ttl_ms=0, cache_scope="private")


def _gone(uri: str) -> types.ReadResourceResult:
    message = "There is no such result or run, or no longer. Ask again for a new one."
    raise MCPError(code=types.INVALID_PARAMS, message=message, data={"uri": uri})
