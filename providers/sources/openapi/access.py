"""How an account is connected to what a document describes, and the scopes that its operations need."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, TypeAlias
from urllib.parse import urljoin, urlsplit

from providers.sources.openapi.document import Left, Tree
from providers.spec import Access, Json
from providers.tools import clean

Scopes: TypeAlias = frozenset[str]
SentAs: TypeAlias = tuple[str, str]
"""The header of a credential, in lower case, and what stands before it there."""

_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_MOST_SCOPES: Final = 500
_MOST_ALTERNATIVES: Final = 20


def schemes_of(tree: Tree) -> dict[str, dict[str, Json]]:
    """The security schemes by name."""
    components = tree.root.get("components")
    named = components.get("securitySchemes") if isinstance(components, dict) else None
    found = {}
    for name, each in named.items() if isinstance(named, dict) else ():
        try:
            found[name] = tree.whole(each)
        except Left:
            continue
    return found


def facts(
    schemes: Mapping[str, Mapping[str, Json]], *, url: str, secured: bool, wanted: str
) -> tuple[dict[str, Json], list[str]]:
    """`access`, `oauth` and `key` as `providers.sources.spec` takes them, and what an administrator should know.

    `secured`: some operation asks for a credential, whatever the schemes are. `wanted`: the access that an
    administrator has chosen; empty: what the document has, OAuth before a key.
    """
    remarks: list[str] = []
    oauth = _oauth(schemes, url, remarks)
    key = next(filter(None, map(_key, schemes.values())), None)
    told = {name: each for name, each in (("oauth", oauth), ("key", key)) if each is not None}
    usual = Access.OAUTH if oauth else Access.KEY if key else Access.NONE
    if usual is Access.NONE and (schemes or secured):
        usual = Access.OAUTH
        if not wanted:
            remarks.append("How accounts are connected is not described in a way that can be used: state it yourself.")
    chosen = Access(wanted) if wanted else usual
    if chosen is not Access.KEY:
        told.pop("key", None)
    return {"access": chosen.value, **told}, remarks


def sent_as(facts: Mapping[str, Json]) -> SentAs | None:
    """How the credential of those facts is sent; None where nothing can be said."""
    if facts["access"] == Access.OAUTH.value and "oauth" in facts:
        return "authorization", "Bearer "
    key = facts.get("key")
    return (key["header"].lower(), key["prefix"]) if key else None


def usable(security: Json, schemes: Mapping[str, Mapping[str, Json]], credential: SentAs | None) -> bool:
    """Whether one of the alternatives of `security` takes a credential that is sent in this way, or none at all."""
    needs = [each for each in security if isinstance(each, dict)] if isinstance(security, list) else []
    if credential is None or not needs:
        return True
    return any(
        all(name not in schemes or _taken_as(schemes[name]) in (None, credential) for name in each) for each in needs
    )


def _taken_as(scheme: Mapping[str, Json]) -> SentAs | None:
    if scheme.get("type") in ("oauth2", "openIdConnect"):
        return "authorization", "Bearer "
    if (key := _key(scheme)) is not None:
        return key["header"].lower(), key["prefix"]
    return None if "type" not in scheme else ("", "")


def _oauth(schemes: Mapping[str, Mapping[str, Json]], url: str, remarks: list[str]) -> dict[str, Json] | None:
    found: dict[str, Json] | None = None
    words: dict[str, str] = {}
    for each in schemes.values():
        flows = each.get("flows") if each.get("type") == "oauth2" else None
        flow = flows.get("authorizationCode") if isinstance(flows, dict) else None
        if not isinstance(flow, dict):
            continue
        authorize, token = (_address(flow.get(name), url) for name in ("authorizationUrl", "tokenUrl"))
        if not authorize or not token:
            continue
        if found is None:
            found = {"authorize_url": authorize, "token_url": token, "identity": "owner"}
            if (refresh := _address(flow.get("refreshUrl"), url)) and refresh != token:
                remarks.append(f"The document names another address for refreshing, which is not used: {refresh}")
        if found["token_url"] == token:
            words.update(_words(flow.get("scopes")))
    if found is not None:
        found["scope_words"] = words
    return found


def _words(scopes: Json) -> dict[str, str]:
    pairs = list(scopes.items())[:_MOST_SCOPES] if isinstance(scopes, dict) else []
    return {name: clean(str(said or ""), 160) for name, said in pairs if _SCOPE.fullmatch(name)}


def _key(scheme: Mapping[str, Json]) -> dict[str, Json] | None:
    kind, where, name = scheme.get("type"), scheme.get("in"), scheme.get("name")
    if kind == "apiKey" and where == "header" and isinstance(name, str) and _HEADER.fullmatch(name):
        return {"header": name, "prefix": ""}
    said = str(scheme.get("scheme", "")).lower() if kind == "http" else ""
    if said == "bearer":
        return {"header": "Authorization", "prefix": "Bearer "}
    if said == "basic":
        return {"header": "Authorization", "prefix": "Basic ", "words": "Enter user:password, encoded in Base64."}
    return None


def _address(said: Json, url: str) -> str:
    """An absolute address, or none."""
    if not isinstance(said, str) or not said.strip():
        return ""
    try:
        whole = urljoin(url, said.strip())
        parts = urlsplit(whole)
        plain = parts.scheme in ("https", "http") and parts.hostname and not parts.username
    except ValueError:
        return ""
    return whole if plain and whole.isascii() and whole.isprintable() and " " not in whole else ""


# --- scopes ----------------------------------------------------------------------------------------------------------


def alternatives(
    operation: Mapping[str, Json],
    otherwise: Json,
    schemes: Mapping[str, Mapping[str, Json]],
    *,
    any_scope: bool,
) -> list[Scopes]:
    """The sets of scopes each of which lets `operation` work; none at all when it does not speak of scopes.

    A requirement's list means all of it, unless `any_scope`. Where one of the alternatives is OAuth, only those are
    looked at: a key that would do as well says nothing about scopes. Jira lists further ones in an extension.
    """
    stated = operation.get("security", otherwise)
    found: list[Scopes] = []
    needs = [each for each in stated if isinstance(each, dict)] if isinstance(stated, list) else []
    oauth = [each for each in needs if any(schemes.get(name, {}).get("type") == "oauth2" for name in each)]
    for each in (oauth or needs)[:_MOST_ALTERNATIVES]:
        lists = [_scopes(names) for names in each.values()]
        if any_scope:
            found += [frozenset({name}) for names in lists for name in names] or [frozenset()]
        else:
            found.append(frozenset(name for names in lists for name in names))
    further = operation.get("x-atlassian-oauth2-scopes")
    for each in further[:_MOST_ALTERNATIVES] if isinstance(further, list) else ():
        if isinstance(each, dict) and each.get("state") != "Deprecated" and (names := _scopes(each.get("scopes"))):
            found.append(frozenset(names))
    return list(dict.fromkeys(found))


def _scopes(names: Json) -> list[str]:
    listed = names[:_MOST_SCOPES] if isinstance(names, list) else []
    return [each for each in listed if isinstance(each, str) and _SCOPE.fullmatch(each)]


_MILD: Final = frozenset({"read", "readonly", "view", "viewer", "list", "get"})
_STRONG: Final = frozenset({"write", "edit", "create", "update", "modify", "send", "delete", "insert"})
_STRONGEST: Final = frozenset({"admin", "manage", "full", "all", "owner"})


class Ranking:
    """How much each scope of a document allows, as far as its name tells."""

    def __init__(self, needs: Iterable[Sequence[Scopes]], words: Mapping[str, str]) -> None:
        self._uses = Counter(name for sets in needs for name in frozenset().union(*sets))
        self._words = words
        known = sorted({*self._uses, *words})
        self._broad = {one for one, after in pairwise(known) if re.match(rf"{re.escape(one)}[._:/-]", after)}

    def least(self, sets: Sequence[Scopes]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """The set that allows least, and the others.

        Among equals, the one that serves most operations: a person is asked for fewer.
        """
        ordered = sorted(sets, key=self._weight)
        return (tuple(sorted(ordered[0])) if ordered else ()), tuple(tuple(sorted(each)) for each in ordered[1:])

    def _weight(self, scopes: Scopes) -> tuple[int, int, int, list[str]]:
        return (
            max(map(self._power, scopes), default=-1),
            len(scopes),
            -min((self._uses[each] for each in scopes), default=0),
            sorted(scopes),
        )

    def _power(self, scope: str) -> int:
        words = frozenset(re.findall(r"[a-z]+", scope.lower()))
        power = 6 if words & _STRONGEST else 4 if words & _STRONG else 0 if words & _MILD else 2
        deprecated = self._words.get(scope, "").lower().startswith("deprecated")
        return power + (scope in self._broad) + 8 * deprecated
