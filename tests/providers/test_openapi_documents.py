"""The documents of real vendors: what becomes of each, and that every operation can be called."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from jsonschema import Draft202012Validator

from providers.manifest import Entry, Manifest
from providers.sources import openapi
from providers.sources.openapi import Document, requests
from tests.peers.arguments import arguments

VENDORS = Path(__file__).parents[3] / "shared" / "providers"
OPERATIONS = {
    "asana.openapi.json": 167,
    "figma.openapi.yaml": 54,
    "notion.openapi.json": 24,
    "sentry.openapi.json": 223,
    "google-tasks.discovery.json": 14,
}

pytestmark = [
    pytest.mark.needs_shared,
    pytest.mark.skipif(not VENDORS.exists(), reason="The vendors' documents are not beside the checkout"),
]
vendors = pytest.mark.parametrize("name", OPERATIONS)


@cache
def document(name: str) -> Document:
    return openapi.read((VENDORS / name).read_bytes(), any_scope=name.startswith(("figma", "sentry")))


def entry(name: str, operation: str) -> Entry:
    return Manifest(document(name).entries).by_name[operation]


@vendors
def test_every_operation_is_offered_or_left_out_for_a_reason(name: str) -> None:
    found = document(name)
    left_out = {each.operation: each.reason for each in found.skipped}
    assert len(found.operations) == OPERATIONS[name] == len(found.entries) + len(left_out)
    for reason in left_out.values():
        assert "another host" in reason or "another kind of credential" in reason
    assert len(left_out) <= 5


@vendors
def test_every_schema_is_one_and_small(name: str) -> None:
    for each in document(name).entries[::10]:
        Draft202012Validator.check_schema(each.schema)
    for each in document(name).entries:
        assert len(json.dumps(each.schema)) <= 24 * 1024
        assert len(each.name) <= 64
    assert len(Manifest.of(document(name).entries).text) < 800_000


@vendors
@pytest.mark.parametrize("every", [False, True])
def test_every_operation_is_written_as_a_request_of_arguments_that_its_schema_allows(name: str, every: bool) -> None:  # noqa: FBT001
    for each in document(name).entries:
        args = arguments(each.schema, every=every)
        Draft202012Validator(each.schema).validate(args)
        request = requests.written(each.call, args)
        assert "{" not in request.path
        assert request.repeat == (request.method == "GET")


def test_asana_writes_lists_with_commas_and_never_what_is_read_only() -> None:
    tasks = entry("asana.openapi.json", "get_tasks")
    request = requests.written(tasks.call, {"project": "1", "opt_fields": ["name", "due_on"]})
    assert ("opt_fields", "name,due_on") in parse_qsl(request.query)
    assert "opt_fields=name,due_on" in request.query
    assert tasks.call["page"]["cursor"] == "offset"
    made = entry("asana.openapi.json", "create_task")
    assert "gid" not in made.schema["properties"]["data"]["properties"]
    assert "notes" in made.schema["properties"]["data"]["properties"]
    assert tasks.gives.startswith("[{")


def test_notions_version_is_fixed_and_its_searches_are_not_taken_for_reads() -> None:
    search = entry("notion.openapi.json", "post_search")
    assert search.effect == "write"
    assert "Notion-Version" not in search.schema["properties"]
    assert requests.written(search.call, {"query": "pumps"}).headers["Notion-Version"] == "2025-09-03"
    assert document("notion.openapi.json").facts["access"] == "key"


def test_figma_and_sentry_ask_for_the_least_of_their_scopes() -> None:
    assert entry("figma.openapi.yaml", "get_file").scopes == ("file_content:read",)
    assert entry("figma.openapi.yaml", "get_file").or_scopes == (("files:read",),)
    issues = entry("sentry.openapi.json", "list_organization_issues")
    assert issues.scopes == ("event:read",)
    assert ("event:admin",) in issues.or_scopes
    assert issues.gives.startswith("[{id, title")
    oauth = document("figma.openapi.yaml").facts["oauth"]
    assert oauth["token_url"] == "https://api.figma.com/v1/oauth/token"
    assert oauth["scope_words"]["file_content:read"]


def test_sentrys_region_is_the_one_it_names_and_another_host_is_left_out() -> None:
    found = document("sentry.openapi.json")
    assert found.facts["api_base"] == "https://us.sentry.io"
    assert [each.operation for each in found.skipped] == ["listSeerModels"]
