"""The contract that every provider of the catalogue keeps."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import fields
from itertools import chain
from string import Formatter
from urllib.parse import urlsplit

import pytest
from jsonschema import Draft202012Validator

from providers import catalogue
from providers.errors import ToolError
from providers.spec import Args, Effect, Json, ProviderSpec, Result, ToolSpec
from providers.tools import page_url
from tests.providers.fake_api import SameAnswer

PROVIDERS = [found for slug in catalogue.slugs() if (found := catalogue.get(slug))]
EVIL = "Boom\x1b[31m\n# [see](http://evil.example/x) ![i](//evil.example/i.png) <img src=x> `x` \u202e\u200bhttp://evil.example"

READS_BY_POST: frozenset[tuple[str, str]] = frozenset(
    {
        ("gcalendar", "find_free_time"),
        ("msgraph", "availability"),
        *(("notion", name) for name in ("search", "recent_pages", "list_databases", "read_page", "page_comments")),
        *(("notion", name) for name in ("query_database", "database_columns")),
        *(("hubspot", name) for name in ("search_contacts", "search_companies", "list_deals", "closing_deals")),
        *(("hubspot", f"{name}_details") for name in ("contact", "company", "deal")),
        ("hubspot", "pipeline_summary"),
        *(("linear", name) for name in ("my_issues", "search_issues", "issue_details", "current_cycle", "list_teams")),
        *(("linear", name) for name in ("list_projects", "project_status")),
    }
)
"""(provider, tool) of reads whose API wants a POST. Add one only after seeing that it changes nothing."""

every_provider = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.id)


def every_tool(test: Callable[[ProviderSpec, ToolSpec], Awaitable[None] | None]) -> Callable[..., Awaitable[None]]:
    """One test for each provider, over all of its tools: a thousand tests would cost more than what they do."""

    async def whole(provider: ProviderSpec) -> None:
        for tool in provider.tools:
            try:
                if (running := test(provider, tool)) is not None:
                    await running
            except BaseException as failed:
                failed.add_note(f"This is {provider.id}.{tool.name}.")
                raise

    whole.__name__ = test.__name__
    return every_provider(whole)


class Anything(dict[str, Json]):
    """An object that has every key: lists of itself where the key is a plural, evil text elsewhere."""

    def __init__(self, *, lists: bool) -> None:
        super().__init__()
        self._lists = lists

    def get(self, key: str, default: Json = None) -> Json:  # noqa: ARG002 - it has them all
        return [Anything(lists=False)] if self._lists and key.endswith("s") else EVIL


ANSWERS: dict[str, Json] = {
    "an empty list": [],
    "an empty object": {},
    "nothing": None,
    "nulls": [None, None],
    "text": "<html>",
    "a number": 7,
    "lists of lists": [[1], [[]]],
    "objects of nulls": [{"id": None, "data": None}],
    "evil objects": [Anything(lists=True), Anything(lists=False)],
    "one evil object": Anything(lists=True),
    "a flat evil object": Anything(lists=False),
}


def urls(provider: ProviderSpec) -> list[str]:
    oauth = provider.oauth
    found = (provider.api_base, provider.web_base, oauth.issuer, *(getattr(oauth, f.name) for f in fields(oauth)))
    return [url for url in found if isinstance(url, str) and "://" in url]


def sample(schema: Json) -> Json:
    """A value that fits a parameter's schema."""
    guesses = (schema.get("default"), *schema.get("examples", ()), *schema.get("enum", ()))
    for guess in (*guesses, "a", "A-1", "24h", "1", "2026-01-31", 1, 50, True, ["a"], [1], {}):
        if guess is not None and Draft202012Validator(schema).is_valid(guess):
            return guess
    raise AssertionError(f"give an example in the schema {schema}")


def arguments(tool: ToolSpec) -> Iterator[Args]:
    """The fewest arguments, then all of them, then each optional one alone with the fewest."""
    whole = {name: sample(schema) for name, schema in tool.params.items()}
    fewest = {name: whole[name] for name in tool.required}
    yield fewest
    yield whole
    yield from ({**fewest, name: value} for name, value in whole.items() if name not in fewest)


def is_text(schema: Json) -> bool:
    return schema["type"] == "string" and "enum" not in schema


def api_of(provider: ProviderSpec, answer: Json) -> SameAnswer:
    return SameAnswer(answer, web_base=provider.web_base or provider.api_base)


async def outcome(tool: ToolSpec, api: SameAnswer, args: Args) -> Result | ToolError:
    try:
        return await tool.invoke(api, args)
    except ToolError as error:
        return error


def normal(ask: str) -> str:
    return re.sub(r"[^\w{}]+", " ", ask).strip().casefold()


def strings(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from chain.from_iterable(strings(each) for each in value.values())
    elif isinstance(value, list | tuple):
        yield from chain.from_iterable(strings(each) for each in value)


def assert_harmless(text: str) -> None:
    assert not [c for c in text if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp", "Cs"}]
    assert "](" not in text
    assert not re.search(r"<[A-Za-z/!?]", text)
    assert "://" not in text, "an address links by itself; citations carry the links"


def assert_well_made(provider: ProviderSpec, result: Result, web_base: str) -> None:
    assert result.text.strip(), "a result says something"
    assert_harmless(result.text)
    json.dumps(result.data, allow_nan=False)
    for source in result.sources:
        assert_harmless(source.title)
        assert "\n" not in source.title
        assert source.url is None or page_url(web_base, source.url) == source.url, f"{provider.id} cites {source.url}"


def test_the_catalogue_knows_its_providers_and_no_other_module() -> None:
    assert "sentry" in catalogue.slugs()
    assert list(catalogue.slugs()) == sorted(set(catalogue.slugs()))
    assert [
        name for name in ("nobody", "", "..", "sentry.PROVIDER", "__init__", "os", "Sentry") if catalogue.get(name)
    ] == []


@pytest.mark.parametrize("slug", catalogue.slugs())
def test_a_module_defines_the_provider_of_its_name(slug: str) -> None:
    provider = catalogue.get(slug)
    assert isinstance(provider, ProviderSpec)
    assert provider.id == slug
    assert re.fullmatch(r"[a-z][a-z0-9_]{1,30}", slug)
    assert catalogue.get(slug) is provider


@every_provider
def test_a_provider_says_what_it_is(provider: ProviderSpec) -> None:
    assert provider.title.strip() == provider.title != ""
    assert 0 < len(provider.about) <= 80, "a short phrase for the one tool's description"
    assert provider.tools
    names = [tool.name for tool in provider.tools]
    assert len(set(names)) == len(names)


@every_provider
def test_every_address_is_https_and_moves_with_the_base(provider: ProviderSpec) -> None:
    assert urls(provider)
    for url in urls(provider):
        parts = urlsplit(url)
        assert parts.scheme == "https"
        assert parts.netloc
        assert not parts.username
    assert not provider.api_base.endswith("/")
    assert not (provider.web_base or "").endswith("/")
    origin = urlsplit(provider.api_base).netloc
    moved = provider.rebased("http://127.0.0.1:9")
    assert moved.api_base == "http://127.0.0.1:9"
    assert all(urlsplit(url).netloc != origin for url in urls(moved))
    paths = [urlsplit(url).path for url in urls(provider) if url not in {provider.api_base, provider.web_base}]
    assert paths == [urlsplit(url).path for url in urls(moved)][-len(paths) :]


@every_provider
def test_scopes_are_explained_and_the_plain_connect_makes_every_read_work(provider: ProviderSpec) -> None:
    oauth = provider.oauth
    assert set(oauth.scopes) <= set(oauth.scope_words), "the connect page explains what it asks for"
    for words in oauth.scope_words.values():
        assert 0 < len(words) <= 120
        assert words[0].islower(), "a scope's words follow “allows to”"
    for tool in provider.tools:
        assert tool.scopes <= set(oauth.scope_words)
        if tool.effect is Effect.READ:
            assert tool.scopes <= set(oauth.scopes)
    writing = frozenset(chain.from_iterable(t.scopes for t in provider.tools if t.effect is not Effect.READ))
    reading = frozenset(chain.from_iterable(t.scopes for t in provider.tools if t.effect is Effect.READ))
    assert not (writing - reading) & set(oauth.scopes), "what only writes need is asked for when it is needed"


@every_provider
def test_no_two_tools_claim_the_same_question(provider: ProviderSpec) -> None:
    asked: dict[str, str] = {}
    for tool in provider.tools:
        for ask in tool.asks:
            assert asked.setdefault(normal(ask), tool.name) == tool.name, ask
    assert len(asked) == sum(len(tool.asks) for tool in provider.tools), "nor asks one tool twice"


@every_tool
def test_a_tool_declares_itself(provider: ProviderSpec, tool: ToolSpec) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]{1,39}", tool.name)
    assert tool.summary.endswith(".")
    assert tool.summary[0].isupper()
    assert len(tool.summary) <= 160
    assert "\n" not in tool.summary
    assert isinstance(tool.effect, Effect)
    assert tool.required <= set(tool.params)
    assert tool.scopes or not provider.oauth.scope_separator, f"{provider.title}: name the least scopes"


@every_tool
def test_its_schema_is_valid_and_describes_every_parameter(provider: ProviderSpec, tool: ToolSpec) -> None:
    Draft202012Validator.check_schema(tool.schema)
    for name, schema in tool.params.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name)
        assert schema["type"]
        assert schema["description"].endswith(".")
        for value in (schema.get("default"), *schema.get("examples", ()), *schema.get("enum", ())):
            assert value is None or Draft202012Validator(schema).is_valid(value)
        if name in tool.required:
            assert "default" not in schema


@every_tool
def test_its_producers_exist_and_read(provider: ProviderSpec, tool: ToolSpec) -> None:
    for name, producer in tool.producers.items():
        assert name in tool.params
        source = provider.by_name[producer.tool]
        assert source.effect is Effect.READ
        assert source.name != tool.name
        assert source.required <= set(tool.params), "what the producer needs is known when it is asked"
        assert name not in source.required, "nor does it need what it is to find"


@every_tool
def test_its_asks_are_questions_with_its_own_parameters(provider: ProviderSpec, tool: ToolSpec) -> None:
    assert tool.asks
    if tool.effect is Effect.READ:
        assert 5 <= len(tool.asks) <= 12
    for ask in tool.asks:
        assert ask.strip() == ask
        assert 0 < len(ask) <= 120
        for _, name, spec, conversion in Formatter().parse(ask):
            assert name is None or name in tool.params, ask
            assert not spec
            assert not conversion


@every_tool
async def test_whatever_the_provider_answers_a_tool_gives_a_result_or_a_tool_error(
    provider: ProviderSpec, tool: ToolSpec
) -> None:
    for args in arguments(tool):
        assert Draft202012Validator(tool.schema).is_valid(args)
        for answer in ANSWERS.values():
            api = api_of(provider, answer)
            result = await outcome(tool, api, args)
            if isinstance(result, ToolError):
                assert_harmless(result.message)
                assert result.message.endswith("."), "an error is a sentence"
            else:
                assert_well_made(provider, result, api.web_base)


@every_tool
async def test_no_value_leaves_its_place_in_a_path(provider: ProviderSpec, tool: ToolSpec) -> None:
    for evil in ("../../admin", "..", ".", "a/b?c#d", "%2e%2e", "\ud800", ""):
        api = api_of(provider, {})
        await outcome(tool, api, {name: evil if is_text(tool.params[name]) else 1 for name in tool.required})
        for path in (*(path for path, _ in api.asked), *(path for _, path, _ in api.sent)):
            assert re.fullmatch(r"(/([A-Za-z0-9._~@:'()=-]|%[0-9A-F]{2})*)+", path)
            assert not {".", "..", "admin", "b"} & set(path.split("/"))


@every_tool
async def test_a_read_changes_nothing(provider: ProviderSpec, tool: ToolSpec) -> None:
    if tool.effect is not Effect.READ:
        return
    allowed = {"POST"} if (provider.id, tool.name) in READS_BY_POST else set()
    for answer in ANSWERS.values():
        api = api_of(provider, answer)
        await outcome(tool, api, next(arguments(tool)))
        assert {method for method, _, _ in api.sent} <= allowed
