"""The operations of a document as entries of a manifest: named, described, and with what is needed to call them."""

from __future__ import annotations

import re
import time
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, urljoin, urlsplit

import orjson

from providers.manifest import Entry
from providers.sources.openapi import access, paging, schemas
from providers.sources.openapi.answers import member_of
from providers.sources.openapi.arguments import Arguments, Setting, body_of, parameters
from providers.sources.openapi.document import Left, Tree, Unreadable
from providers.spec import Effect, Json
from providers.tools import clean

MOST: Final = 5_000
"""Operations that one provider may have."""
_MOST_LISTED: Final = 20_000
_MOST_ENTRY_BYTES: Final = 64 * 1024
_MOST_S: Final = 20.0
_NAME: Final = 64

_METHODS: Final = ("get", "put", "post", "delete", "patch")
_OTHERS: Final = ("head", "options", "trace", "query")
_CHANGING: Final = re.compile(r"revoke|delete|remove|logout|log_out|signout|sign_out|disconnect|unsubscribe")


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, before anything is known about its arguments."""

    name: str
    """Ours."""
    source_name: str
    method: str
    path: str
    summary: str
    tags: tuple[str, ...]
    node: Mapping[str, Json] = field(repr=False)
    item: Mapping[str, Json] = field(repr=False)

    @property
    def effect(self) -> Effect:
        """What its method says: a hint."""
        if self.method == "get":
            return Effect.WRITE if _CHANGING.search(self.name) else Effect.READ
        return Effect.DESTRUCTIVE if self.method == "delete" else Effect.WRITE


@dataclass(frozen=True, slots=True)
class Skipped:
    """An operation that cannot be offered, and why."""

    operation: str
    reason: str


# --- which there are -------------------------------------------------------------------------------------------------


def listed(tree: Tree) -> tuple[list[Operation], list[Skipped]]:
    """Every operation, in the order of the document; names do not depend on that order. Raises: Unreadable."""
    paths = tree.root.get("paths")
    if not isinstance(paths, dict):
        raise Unreadable("The document has no paths, so there is nothing to call.")
    drafts: list[tuple[str, str, Mapping[str, Json], Mapping[str, Json]]] = []
    skipped: list[Skipped] = []
    for path, said in paths.items():
        if path.startswith("x-"):
            continue
        try:
            item = tree.whole(said)
        except Left as left:
            skipped.append(Skipped(clean(path, 200), str(left)))
            continue
        drafts += [(path, method, item[method], item) for method in _METHODS if isinstance(item.get(method), dict)]
        skipped += [
            Skipped(clean(f"{method.upper()} {path}", 200), "Its method is not one that is called.")
            for method in _OTHERS
            if method in item
        ]
        if len(drafts) > _MOST_LISTED:
            raise Unreadable(f"The document has more than {_MOST_LISTED:,} operations. Give one with fewer.")
    names: dict[tuple[str, str], str] = {}
    numbers: dict[str, int] = {}
    for path, method, node, _ in sorted(drafts, key=lambda draft: (draft[0], draft[1])):
        names[path, method] = _unique(_plain_name(node.get("operationId"), method, path), numbers)
    return [
        Operation(
            name=names[path, method],
            source_name=_source_name(node, method, path),
            method=method,
            path=path,
            summary=_summary(node, method, path),
            tags=_tags(node),
            node=node,
            item=item,
        )
        for path, method, node, item in drafts
    ], skipped


def _source_name(node: Mapping[str, Json], method: str, path: str) -> str:
    said = node.get("operationId")
    return said[:200] if isinstance(said, str) and said.strip() else f"{method.upper()} {path}"[:300]


def _plain_name(said: Json, method: str, path: str) -> str:
    if not isinstance(said, str) or not (words := _words(said)):
        steps = [each for each in path.partition("#")[0].split("/") if each]
        words = [method, *(word for step in steps for word in _words(step))]
        if fragment := path.partition("#")[2]:
            words += _words(fragment)
    name = "_".join(word for word, before in zip(words, ["", *words], strict=False) if word != before)
    if not name[0].isalpha():
        name = f"{method}_{name}"
    return name if len(name) <= _NAME else name[:_NAME].rpartition("_")[0] or name[:_NAME]


def _words(said: str) -> list[str]:
    """`issues/list-for-repo` and `getFileNodes` as lower-case words."""
    ascii_ = unicodedata.normalize("NFKD", said[:300]).encode("ascii", "ignore").decode().replace("'", "")
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", ascii_)
    return re.findall(r"[a-z0-9]+", parted.lower())


def _unique(name: str, numbers: dict[str, int]) -> str:
    """`name`, or the same with the first number that is free; `numbers`: the last one of each name that is taken."""
    found, number = name, numbers.get(name, 0)
    while found in numbers:
        number = max(number, 1) + 1
        ending = f"_{number}"
        found = f"{name[: _NAME - len(ending)]}{ending}"
    numbers[name] = max(number, 1)
    numbers.setdefault(found, 1)
    return found


def _summary(node: Mapping[str, Json], method: str, path: str) -> str:
    for said in (node.get("summary"), node.get("description")):
        if isinstance(said, str) and (line := clean(" ".join(said[:1_200].split()), 300)):
            return f"{line[:280]} (deprecated)" if node.get("deprecated") is True else line
    return clean(f"{method.upper()} {path}", 300)


def _tags(node: Mapping[str, Json]) -> tuple[str, ...]:
    said = node.get("tags")
    tags = [clean(each, 60) for each in said[:10] if isinstance(each, str)] if isinstance(said, list) else []
    return tuple(dict.fromkeys(each for each in tags if each))


def selected(operations: list[Operation], tags: Collection[str], names: Collection[str]) -> list[Operation]:
    """Those with one of `tags`, and those that `names` name, in any of their ways; all when neither is given.

    Raises: Unreadable for a name that there is not, and when they are too many.
    """
    chosen = operations
    if tags or names:
        wanted = {each.casefold() for each in tags}
        by_name = {
            each: operation
            for operation in operations
            for each in (operation.name, operation.source_name, f"{operation.method.upper()} {operation.path}")
        }
        known = {tag.casefold() for operation in operations for tag in operation.tags}
        if missing := [each for each in tags if each.casefold() not in known]:
            raise Unreadable(f"The document has no tag {missing[0]!r}.")
        if missing := [each for each in names if each not in by_name]:
            raise Unreadable(f"The document has no operation {missing[0]!r}.")
        named = {by_name[each].name for each in names}
        chosen = [
            each for each in operations if each.name in named or any(tag.casefold() in wanted for tag in each.tags)
        ]
    if len(chosen) > MOST:
        raise TooMany(
            f"The document has {len(chosen):,} operations, and one provider may have {MOST:,}: "
            "select the tags or operations that are needed.",
            operations,
        )
    return chosen


class TooMany(Unreadable):
    """More operations than one provider may have."""

    def __init__(self, sentence: str, operations: Iterable[Operation]) -> None:
        super().__init__(sentence)
        self.tags = tags_of(operations)


def tags_of(operations: Iterable[Operation]) -> dict[str, int]:
    """How many of them each tag has, the largest first."""
    counts = Counter(tag for operation in operations for tag in operation.tags)
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


# --- entries ---------------------------------------------------------------------------------------------------------


def entries(setting: Setting, chosen: Iterable[Operation]) -> tuple[list[Entry], list[Skipped]]:
    """What each operation becomes, and which cannot be offered. Raises: Unreadable when it takes too long."""
    ends = time.monotonic() + _MOST_S
    otherwise = setting.tree.root.get("security")
    needs = {
        each.name: access.alternatives(each.node, otherwise, setting.schemes, any_scope=setting.any_scope)
        for each in chosen
    }
    ranking = access.Ranking(needs.values(), setting.words)
    made: list[Entry] = []
    skipped: list[Skipped] = []
    for each in chosen:
        if time.monotonic() > ends:
            raise Unreadable("The document takes too long to read. Select fewer tags or operations.")
        try:
            entry = _entry(setting, each, *ranking.least(needs[each.name]))
        except (Left, RecursionError) as left:
            why = str(left) if isinstance(left, Left) else "Its schemas are nested too deeply."
            skipped.append(Skipped(clean(each.source_name, 200), why))
        else:
            made.append(entry)
    return made, skipped


def _entry(
    setting: Setting, operation: Operation, scopes: tuple[str, ...], others: tuple[tuple[str, ...], ...]
) -> Entry:
    """Raises: Left."""
    tree = setting.tree
    if not access.usable(operation.node.get("security", tree.root.get("security")), setting.schemes, setting.sent_as):
        raise Left("It takes another kind of credential than the one that accounts are connected with.")
    path, pairs = _path(operation.path)
    prefix = _prefix(setting, operation)
    arguments = Arguments(setting)
    for each in parameters(tree, operation.item, operation.node):
        arguments.add(each)
    arguments.complete(path)
    body = body_of(tree, operation.node, operation.method)
    schema, body_call = arguments.schema(body)
    answers = _answers(tree, operation)
    fixed = [*arguments.fixed, *({"in": "query", "name": name, "value": value} for name, value in pairs)]
    if answers and not any("json" in media for media in answers):
        fixed.append({"in": "header", "name": "Accept", "value": "application/json, */*;q=0.5"})
    given = next((each for media, each in answers.items() if "json" in media), None)
    call: dict[str, Json] = {"method": operation.method.upper(), "path": prefix + path, "params": arguments.params}
    if fixed:
        call["fixed"] = fixed
    if body_call:
        call["body"] = body_call
    gives = schemas.shape(tree, schemas.wrapped(tree, given, member_of))
    pages = paging.of(arguments.params, schema, urlsplit(setting.api_base).netloc)
    if operation.method == "get" and (pages["args"] or gives.startswith("[")):
        call["page"] = pages
    entry = Entry(
        name=operation.name,
        source_name=clean(operation.source_name, 200),
        summary=operation.summary,
        schema=schema,
        effect=operation.effect.value,
        scopes=scopes,
        or_scopes=others,
        tags=operation.tags,
        call=call,
        gives=gives,
    )
    try:
        size = len(orjson.dumps([entry.schema, entry.call, entry.source_name, entry.summary, entry.tags]))
    except TypeError:
        raise Left("It holds text that is not Unicode.") from None
    if size > _MOST_ENTRY_BYTES - 2_048:
        raise Left("Its arguments are too many to describe.")
    return entry


def _path(template: str) -> tuple[str, list[tuple[str, str]]]:
    """The path as it is sent, with the places of its parameters, and what its query always holds. Raises: Left."""
    if not template.startswith("/"):
        raise Left("Its path does not begin with a slash.")
    path, _, query = template.partition("#")[0].partition("?")
    parts = re.split(r"(\{[^{}/]*\})", path)
    parts[::2] = [quote(each, safe="/~!$&'()*+,;=:@%") for each in parts[::2]]
    sent = "".join(parts)
    plain = re.sub(r"\{[^{}/]*\}", "x", path)
    if re.search(r"//|/\.{1,2}(?=/|$)|%(?![0-9A-Fa-f]{2})|[{}\\]", plain):
        raise Left("Its path is none that can be called.")
    if "{" in query:
        raise Left("Its path has parameters in a query.")
    return sent, parse_qsl(query, keep_blank_values=True)


def _prefix(setting: Setting, operation: Operation) -> str:
    """What stands between the API's base and the path. Raises: Left when it is served elsewhere."""
    for node in (operation.node, operation.item):
        servers = node.get("servers")
        if isinstance(servers, list) and servers:
            own = [server_url(each, setting.url) for each in servers]
            for base in (setting.document_base, setting.api_base):
                for each in own:
                    if base and (each == base or each.startswith(f"{base}/")):
                        return each[len(base) :]
            raise Left("It is served by another host or elsewhere on it, where the account's token is not sent.")
    return ""


def server_url(server: Json, url: str) -> str:
    """A server's address with its variables at their defaults, no trailing slash; empty when it has none.

    Relative ones are seen from `url`.
    """
    said = server.get("url") if isinstance(server, dict) else None
    if not isinstance(said, str):
        return ""
    variables = server.get("variables")
    for name, each in variables.items() if isinstance(variables, dict) else ():
        default = each.get("default") if isinstance(each, dict) else None
        if isinstance(default, str | int):
            said = said.replace(f"{{{name}}}", str(default))
    try:
        whole = urljoin(url, said.strip())
        parts = urlsplit(whole)
        usable = parts.scheme in ("https", "http") and parts.hostname and not (parts.username or parts.query)
    except ValueError:
        return ""
    plain = re.fullmatch(r"[\x21\x24-\x7e]+", whole) and not re.search(r"[{}\\]|/\.{1,2}(?:/|$)", whole)
    return whole.rstrip("/") if usable and plain and not parts.fragment else ""


def _answers(tree: Tree, operation: Operation) -> dict[str, Json]:
    """The schema of the successful answer, by media type."""
    responses = operation.node.get("responses")
    for status in ("200", "201", "202", "203", "2XX", "default"):
        if isinstance(responses, dict) and status in responses:
            try:
                content = tree.whole(responses[status]).get("content")
            except Left:
                return {}
            pairs = content.items() if isinstance(content, dict) else ()
            return {media: each.get("schema") for media, each in pairs if isinstance(each, dict)}
    return {}


# --- what it is about ------------------------------------------------------------------------------------------------


def about(root: Mapping[str, Json], operations: Iterable[Operation]) -> str:
    """What people ask it about, at most 80 characters: its largest tags, or else its description."""
    tags = Counter(each.tags[0] for each in operations if each.tags)
    names = [tag.replace("-", " ").replace("_", " ").lower() for tag, _ in tags.most_common(6)]
    if len(names) > 2:  # noqa: PLR2004 - fewer say nothing
        while len(", ".join(names)) > 76:  # noqa: PLR2004 - room for "and"
            names.pop()
        return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
    described = root.get("info")
    said = described.get("description") if isinstance(described, dict) else None
    return clean(" ".join(str(said or "")[:400].split()), 80)
