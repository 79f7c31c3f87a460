"""An OpenAPI document as a source: its operations as entries, and the requests that call them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from providers.errors import BadArguments, TooManyRequests, Unavailable
from providers.manifest import Entry
from providers.sources import googleapi
from providers.sources.openapi import access as security
from providers.sources.openapi import answers, paging, requests
from providers.sources.openapi import operations as ops
from providers.sources.openapi.arguments import Setting
from providers.sources.openapi.document import Tree, Unreadable, loaded
from providers.sources.openapi.operations import Operation, Skipped, TooMany
from providers.spec import Api, Args, Effect, Invoke, Json, Reply, Request, Result
from providers.tools import clean

__all__ = ["Document", "Operation", "Skipped", "TooMany", "Unreadable", "invoke", "read"]


@dataclass(frozen=True, slots=True)
class Document:
    """What a document says."""

    facts: Mapping[str, Json]
    """Of the provider, as `providers.sources.spec` takes them."""
    entries: tuple[Entry, ...]
    """The operations that were selected and can be offered."""
    skipped: tuple[Skipped, ...]
    operations: tuple[Operation, ...]
    """All that the document has, selected or not."""
    remarks: tuple[str, ...] = ()
    """What an administrator should know, a sentence each."""

    @property
    def tags(self) -> dict[str, int]:
        """How many operations each tag has, the largest first."""
        return ops.tags_of(self.operations)


def read(
    content: bytes,
    *,
    url: str = "",
    tags: Collection[str] = (),
    operations: Collection[str] = (),
    api_base: str = "",
    any_scope: bool = False,
    access: str = "",
) -> Document:
    """What `content` describes: an OpenAPI 3.0 or 3.1 document as JSON or YAML, or a Google discovery document.

    Args:
        content: The bytes; nothing else is fetched.
        url: Where they are from; addresses in them may be relative to it.
        tags: Only operations with one of these, and those that `operations` names.
        operations: By id, by our name, or as `GET /path`.
        api_base: Where the API is, whatever the document says.
        any_scope: A requirement's list of scopes means any of them, not all.
        access: How accounts are connected (`providers.spec.Access`), whatever the document prefers.

    Raises: Unreadable.
    """
    root = loaded(content)
    further: Mapping[str, Json] = {}
    if googleapi.is_discovery(root):
        further, root = googleapi.oauth_facts(root), googleapi.as_openapi(root)
    _supported(root)
    tree, document_base = Tree(root), _document_base(root, url)
    base = ops.server_url({"url": api_base}, "") if api_base else document_base
    if not base:
        raise Unreadable("It is not said where the API is: give its base address.")
    every, skipped = ops.listed(tree)
    chosen = ops.selected(every, tags, operations)
    schemes = security.schemes_of(tree)
    facts, remarks = security.facts(schemes, url=url, secured=bool(root.get("security")), wanted=access)
    setting = Setting(
        tree=tree,
        api_base=base,
        document_base=document_base,
        url=url,
        any_scope=any_scope,
        schemes=schemes,
        words=facts.get("oauth", {}).get("scope_words", {}),
        sent_as=security.sent_as(facts),
    )
    entries, left_out = ops.entries(setting, chosen)
    if not entries:
        raise Unreadable("The document has no operation that can be offered.")
    info = root.get("info")
    title = clean(str(info.get("title") or ""), 60) if isinstance(info, dict) else ""
    if "oauth" in facts:
        reads = {scope for entry in entries if entry.effect == Effect.READ.value for scope in entry.scopes}
        facts["oauth"] = {**facts["oauth"], **further, "scopes": [*further.get("scopes", ()), *sorted(reads)]}
    return Document(
        facts={
            "title": title or urlsplit(base).netloc,
            "about": ops.about(root, every)[:_MOST_ABOUT],
            "api_base": base,
            **facts,
        },
        entries=tuple(entries),
        skipped=(*skipped, *left_out),
        operations=tuple(every),
        remarks=tuple(remarks),
    )


_MOST_ABOUT: Final = 80


def _supported(root: Mapping[str, Json]) -> None:
    if "swagger" in root:
        raise Unreadable("This is a Swagger 2 document. Convert it to OpenAPI 3, and give that.")
    if not str(root.get("openapi", "")).startswith("3."):
        raise Unreadable("This is no OpenAPI 3 document: it does not say `openapi: 3.0` or `3.1`.")


def _document_base(root: Mapping[str, Json], url: str) -> str:
    servers = root.get("servers")
    known = [ops.server_url(each, url) for each in servers[:50]] if isinstance(servers, list) else []
    if not known and url:
        known = [ops.server_url({"url": "/"}, url)]
    usable = [each for each in known if each]
    return next((each for each in usable if each.startswith("https:")), next(iter(usable), ""))


# --- calling ---------------------------------------------------------------------------------------------------------


def invoke(entry: Entry, title: str) -> Invoke:
    """What calls the operation of `entry`."""
    call = entry.call

    async def called(api: Api, args: Args) -> Result:
        request = requests.written(call, args)
        reply = await api.request(request)
        found, more = answers.found(reply.data), False
        if isinstance(found, list) and paging.followed(call, args):
            rows, more = await _followed(api, call["page"], request, reply)
            found = rows
        return answers.said(reply, found, title=title, summary=entry.summary, web_base=api.web_base, more=more)

    return called


async def _followed(api: Api, pages: Mapping[str, Json], request: Request, reply: Reply) -> tuple[list[Json], bool]:
    """All rows of at most five further pages, and whether there are still more. What fails later ends the list."""
    rows = list(answers.found(reply.data))
    fresh, seen = rows, {request.query}
    for _ in range(paging.MOST):
        following = paging.following(pages, request, reply, fresh)
        if following is None or following.query in seen:
            return rows, False
        seen.add(following.query)
        try:
            request, reply = following, await api.request(following)
        except (BadArguments, TooManyRequests, Unavailable):
            return rows, True
        page = answers.found(reply.data)
        fresh = page if isinstance(page, list) else []
        rows = [*rows, *fresh]
    return rows, paging.following(pages, request, reply, fresh) is not None
