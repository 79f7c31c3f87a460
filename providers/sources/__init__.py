"""Sources: where a ProviderSpec comes from that is no file of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

from providers.manifest import Choices, Entry, Manifest
from providers.spec import Access, Invoke, Json, KeySpec, OAuthSpec, ProviderSpec, ToolSpec


def module_of(source: str) -> ModuleType:
    """What reads and calls the providers of a source; loaded when the first is asked for, for it takes its time."""
    return import_module(f"{__name__}.{source}")


def spec(slug: str, source: str, facts: Mapping[str, Json], manifest: Manifest, choices: Choices) -> ProviderSpec:
    """The provider that an installation's facts and its pinned manifest give.

    `facts` has the fields of a ProviderSpec that are plain JSON, with `oauth` and `key` as objects of theirs.
    """
    title, access = facts.get("title") or slug, Access(facts.get("access", Access.OAUTH))
    speaks = module_of(source)
    return ProviderSpec(
        id=slug,
        title=title,
        about=facts.get("about", ""),
        api_base=facts["api_base"],
        web_base=facts.get("web_base"),
        access=access,
        key=KeySpec(**facts.get("key", {})),
        headers=facts.get("headers", {}),
        refusal_of=getattr(speaks, "refusal_of", None),
        oauth=OAuthSpec(**{"authorize_url": "", "token_url": "", **_frozen(facts.get("oauth", {}))}),
        tools=tuple(
            _tool(entry, choices, speaks.invoke(entry, title), scoped=access is Access.OAUTH)
            for entry in manifest.entries
            if entry.name not in choices.left_out
        ),
    )


def _tool(entry: Entry, choices: Choices, invoke: Invoke, *, scoped: bool) -> ToolSpec:
    """`scoped`: accounts have scopes; a key has none, and opens what it opens."""
    stated = choices.scopes.get(entry.name)
    return ToolSpec(
        name=entry.name,
        summary=entry.summary,
        invoke=invoke,
        params={name: each if isinstance(each, dict) else {} for name, each in _properties(entry.schema).items()},
        required=frozenset(name for name in entry.schema.get("required", ()) if isinstance(name, str)),
        whole=entry.schema,
        scopes=frozenset(entry.scopes if stated is None else stated) if scoped else frozenset(),
        or_scopes=tuple(map(frozenset, entry.or_scopes)) if scoped and stated is None else (),
        effect=choices.effect_of(entry),
        tags=entry.tags,
        gives=entry.gives,
    )


def _properties(schema: Json) -> Mapping[str, Json]:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def _frozen(oauth: Mapping[str, Json]) -> dict[str, Json]:
    """As fields of an OAuthSpec are."""
    return {name: tuple(each) if isinstance(each, list) else each for name, each in oauth.items()}
