"""Who may use which tool through which connection; pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from metaagent.agent import foreign
from metaagent.agent.failures import AccountAmbiguous, AccountUnknown, CapabilityMiss, NeedsAuth, NeedsConsent
from metaagent.agent.types import Admission, ConnectionRef
from providers.spec import ConsentPolicy, Effect, Exposure, Json, ToolSpec


class Author(StrEnum):
    """Who decided that a tool is called, and with what: the authority it is called under."""

    CLIENT = "client"
    """The client named the tool and its arguments itself."""
    PROMPT = "prompt"
    """The router, by fixed rules, from the person's own words and what producers gave."""
    MODEL = "model"
    """A model. It is taken to obey whoever wrote anything it has read."""
    PERSON = "person"
    """The person, who approved exactly this call."""


def visible(admission: Admission) -> bool:
    """Whether this principal sees the provider's tool: always when soft, once connected when strict."""
    return admission.exposure is Exposure.SOFT or any(c.ready for c in admission.connections)


def choose(
    admission: Admission, *, account_id: str | None, sticky: UUID | None
) -> ConnectionRef | NeedsAuth | AccountAmbiguous | AccountUnknown:
    """Pick the one connection an ask may use, or say why there is not exactly one.

    In this order: the account named, the conversation's, the only one, the default (one's own before the tenant's).
    """
    if account_id is not None:
        return _named(admission, account_id)
    if kept := _sticky(admission, sticky):
        return kept if kept.ready else _needs_auth(admission, kept)
    accounts = _distinct(admission.connections)
    match [c for c in accounts if c.ready]:
        case []:
            return _needs_auth(admission, *accounts)
        case [only]:
            return only
        case several:
            defaults = sorted((c for c in several if c.is_default), key=lambda c: c.shared)
            return defaults[0] if defaults else _ambiguous(admission, several)


def meant(admission: Admission, *, account_id: str | None, sticky: UUID | None) -> ConnectionRef | None:
    """The account a log-in would bring back: the one named, the conversation's, or the only one."""
    if account_id is None and (kept := _sticky(admission, sticky)):
        return kept
    accounts = _distinct(admission.connections) if account_id is None else _matching(admission, account_id)
    return accounts[0] if len(accounts) == 1 else None


def powerless(admission: Admission, connection: ConnectionRef) -> NeedsAuth | None:
    """Connected, but with scopes that allow no read at all: the link asks for those of every read."""
    reads = [tool for tool in admission.provider.tools if tool.effect is Effect.READ]
    if not reads or readable(reads, connection):
        return None
    scopes = scopes_for(admission, connection, (scope for tool in reads for scope in tool.scopes))
    return NeedsAuth(admission.provider.id, "scope_upgrade", scopes, admission.provider.title)


def allowed(tool: ToolSpec, connection: ConnectionRef, admission: Admission) -> CapabilityMiss | None:
    """None when the connection's scopes allow the tool, else what is missing."""
    missing = tool.missing(connection.scopes)
    if not missing:
        return None
    return CapabilityMiss(admission.provider.id, tool.name, tuple(sorted(missing)), admission.provider.title)


def consented(
    tool: ToolSpec,
    admission: Admission,
    connection: ConnectionRef,
    *,
    client: str,
    taken: Collection[Effect],
    now: datetime,
) -> NeedsConsent | None:
    """None when the person lets this client have the tool's effect through the connection, else what to ask them.

    Effects are consented to one by one: none includes another. `taken` is what they allowed this one ask.
    """
    match admission.consent:
        case ConsentPolicy.NEVER:
            return None
        case ConsentPolicy.WRITES if tool.effect is Effect.READ:
            return None
        case ConsentPolicy.WRITES | ConsentPolicy.FIRST_USE:
            given = any(
                (c.connection_id, c.client, c.effect) == (connection.id, client, tool.effect) and c.until > now
                for c in admission.consents
            )
        case ConsentPolicy.ALWAYS:
            given = tool.effect in taken
    if given:
        return None
    provider, once = admission.provider, admission.consent is ConsentPolicy.ALWAYS
    return NeedsConsent(provider.id, tool.effect, one_line(tool.summary), provider.title, once)


def needs_approval(
    tool: ToolSpec, args: Mapping[str, Json], author: Author, *, prompt: str, hosts: frozenset[str]
) -> bool:
    """Whether the person has to approve exactly this call first.

    Only they and their client have authority to change anything. Whoever else decides may read, as the account that was
    chosen, and send nothing to an address that neither the person named nor one of the provider's own `hosts` is.
    """
    match author:
        case Author.CLIENT | Author.PERSON:
            return False
        case Author.PROMPT | Author.MODEL:
            strange = any(found not in prompt for found in _addresses(tool, args, hosts))
            return strange or tool.effect is not Effect.READ


_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:\s*[/\\]|[/\\]{2}|\bwww\d?\.|\b(?:mailto|data|javascript):", re.IGNORECASE)
_TAKES_ADDRESS = re.compile(r"(?:^|[_-])(?:ur[il]s?|links?|href|webhooks?|callbacks?|hosts?|domains?|endpoints?)$")


def _addresses(tool: ToolSpec, args: Mapping[str, Json], hosts: frozenset[str]) -> Iterator[str]:
    """Every text among the arguments that holds an address, or is given where one is taken, but the provider's own."""
    for name, given in args.items():
        schema = tool.params.get(name, {})
        named = _TAKES_ADDRESS.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
        takes = bool(named) or str(schema.get("format", "")) in {"uri", "url", "uri-reference", "hostname", "iri"}
        for text in _texts(given):
            if not (takes or _ADDRESS.search(text)):
                continue
            if not foreign.leads_home(text, hosts):
                yield text


def _texts(given: Json) -> Iterator[str]:
    if isinstance(given, str):
        yield given
    elif isinstance(given, Mapping):
        for key, inner in given.items():
            yield from (str(key), *_texts(inner))
    elif isinstance(given, list | tuple):
        for inner in given:
            yield from _texts(inner)


def readable(tools: Iterable[ToolSpec], connection: ConnectionRef) -> list[ToolSpec]:
    """The read tools this connection can use now."""
    return [tool for tool in tools if tool.effect is Effect.READ and not tool.missing(connection.scopes)]


def scopes_for(
    admission: Admission, connection: ConnectionRef | None, needed: Iterable[str] | None = None
) -> tuple[str, ...]:
    """What a connect link asks for: what was granted, and what is `needed` or else the provider's usual scopes."""
    granted = connection.scopes if connection else frozenset()
    return tuple(sorted({*granted, *(admission.provider.oauth.scopes if needed is None else needed)}))


_SUMMARY_CHARS = 200


def one_line(text: str) -> str:
    """A tool's words as others may see them: a tool may come from a document nobody here has written."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split())[:_SUMMARY_CHARS]


def _distinct(connections: Sequence[ConnectionRef]) -> list[ConnectionRef]:
    """Each account once: of one's own and the tenant's connection to it the ready one, one's own if both are."""
    best: dict[str, ConnectionRef] = {}
    for connection in sorted(connections, key=lambda c: (not c.ready, c.shared)):
        best.setdefault(connection.account_id, connection)
    return [c for c in connections if best[c.account_id] is c]


def _matching(admission: Admission, account_id: str) -> list[ConnectionRef]:
    """By id, else by label: nobody hides an account by naming another one after its id."""
    by_id = [c for c in admission.connections if c.account_id == account_id]
    return _distinct(by_id or [c for c in admission.connections if c.label == account_id])


def _named(admission: Admission, account_id: str) -> ConnectionRef | NeedsAuth | AccountAmbiguous | AccountUnknown:
    match _matching(admission, account_id):
        case []:
            return AccountUnknown(admission.provider.id)
        case [only]:
            return only if only.ready else _needs_auth(admission, only)
        case several:
            return _ambiguous(admission, several)


def _sticky(admission: Admission, sticky: UUID | None) -> ConnectionRef | None:
    """The conversation's account, while this person may still use it or can bring it back by logging in."""
    return next((c for c in admission.connections if c.id == sticky), None)


def _ambiguous(admission: Admission, several: Sequence[ConnectionRef]) -> AccountAmbiguous:
    listed = ((c.account_id, f"{c.label} (shared)" if c.shared else c.label) for c in several)
    return AccountAmbiguous(admission.provider.id, tuple(listed))


def _needs_auth(admission: Admission, *connections: ConnectionRef) -> NeedsAuth:
    reasons = [c.reason for c in connections if c.reason]
    scopes = scopes_for(admission, connections[0] if len(connections) == 1 else None)
    return NeedsAuth(admission.provider.id, reasons[0] if reasons else "missing", scopes, admission.provider.title)
