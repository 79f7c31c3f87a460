"""Google's discovery documents as a source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from providers.manifest import Choices, Manifest
from providers.sources import openapi, spec
from providers.sources.openapi import requests

TASKS = Path(__file__).parents[3] / "shared" / "providers" / "google-tasks.discovery.json"
AUTH = "https://www.googleapis.com/auth/"

DRIVE: dict[str, Any] = {
    "kind": "discovery#restDescription",
    "name": "drive",
    "title": "Drive",
    "ownerDomain": "google.com",
    "rootUrl": "https://www.googleapis.com/",
    "servicePath": "drive/v3/",
    "auth": {
        "oauth2": {"scopes": {f"{AUTH}drive": {"description": "All"}, f"{AUTH}drive.readonly": {"description": "See"}}}
    },
    "parameters": {
        "key": {"location": "query"},
        "fields": {"location": "query"},
        "access_token": {"location": "query"},
    },
    "schemas": {
        "File": {
            "id": "File",
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "size": {"type": "string", "format": "int64"},
                "parents": {"type": "array", "items": {"type": "string"}},
                "createdBy": {"$ref": "User", "readOnly": True},
                "shortcut": {"$ref": "File"},
                "extra": {"type": "any"},
            },
        },
        "User": {"id": "User", "type": "object", "properties": {"name": {"type": "string"}}},
        "FileList": {
            "id": "FileList",
            "type": "object",
            "properties": {
                "files": {"type": "array", "items": {"$ref": "File"}},
                "kind": {"type": "string"},
                "nextPageToken": {"type": "string"},
            },
        },
    },
    "resources": {
        "files": {
            "methods": {
                "list": {
                    "id": "drive.files.list",
                    "httpMethod": "GET",
                    "path": "files",
                    "description": "Lists files. At length.",
                    "parameters": {
                        "pageSize": {"location": "query", "type": "integer", "minimum": "1", "default": "100"},
                        "pageToken": {"location": "query", "type": "string"},
                        "trashed": {"location": "query", "type": "boolean", "default": "false"},
                        "spaces": {"location": "query", "type": "string", "repeated": True},
                    },
                    "response": {"$ref": "FileList"},
                    "scopes": [f"{AUTH}drive", f"{AUTH}drive.readonly"],
                },
                "create": {
                    "id": "drive.files.create",
                    "httpMethod": "POST",
                    "path": "files",
                    "request": {"$ref": "File"},
                    "response": {"$ref": "File"},
                    "scopes": [f"{AUTH}drive"],
                },
            },
            "resources": {
                "parts": {
                    "methods": {
                        "get": {
                            "id": "drive.files.parts.get",
                            "httpMethod": "GET",
                            "path": "{+name}/parts",
                            "parameters": {"name": {"location": "path", "type": "string", "required": True}},
                        }
                    }
                }
            },
        }
    },
}


def drive() -> Manifest:
    return Manifest.of(openapi.read(json.dumps(DRIVE).encode()).entries)


def test_methods_of_all_resources_become_entries_with_scopes_as_alternatives() -> None:
    assert [each.name for each in drive().entries] == ["files_create", "files_list", "files_parts_get"]
    listed = drive().by_name["files_list"]
    assert (listed.scopes, listed.or_scopes) == ((f"{AUTH}drive.readonly",), ((f"{AUTH}drive",),))
    assert (listed.effect, listed.tags, listed.summary) == ("read", ("files",), "Lists files. At length.")
    assert listed.gives == "[{name, size, parents, createdBy.name, shortcut.name, extra}]"


def test_what_every_method_has_is_left_out_but_for_the_fields_of_reads() -> None:
    assert set(drive().by_name["files_list"].schema["properties"]) == {
        "pageSize",
        "pageToken",
        "trashed",
        "spaces",
        "fields",
    }
    assert drive().by_name["files_list"].schema["properties"]["pageSize"] == {
        "type": "integer",
        "minimum": 1,
        "default": 100,
    }
    assert "fields" not in drive().by_name["files_create"].schema["properties"]


def test_a_request_is_flattened_without_what_is_read_only_and_cycles_stay_references() -> None:
    schema = drive().by_name["files_create"].schema
    assert set(schema["properties"]) == {"name", "size", "parents", "shortcut", "extra"}
    assert schema["properties"]["size"] == {"type": "string", "format": "int64"}
    assert "#/$defs/File" in json.dumps(schema)


def test_a_name_that_holds_slashes_keeps_them() -> None:
    call = drive().by_name["files_parts_get"].call
    assert requests.written(call, {"name": "drives/1/files/2"}).path == "/drives/1/files/2/parts"
    repeated = requests.written(drive().by_name["files_list"].call, {"spaces": ["a", "b"], "trashed": True})
    assert repeated.query == "trashed=true&spaces=a&spaces=b"


def test_google_is_connected_as_its_catalogue_files_do() -> None:
    document = openapi.read(json.dumps(DRIVE).encode())
    provider = spec("drive", "openapi", document.facts, Manifest.of(document.entries), Choices())
    assert provider.api_base == "https://www.googleapis.com/drive/v3"
    assert provider.oauth.token_url == "https://oauth2.googleapis.com/token"
    assert provider.oauth.scopes == ("openid", "email", f"{AUTH}drive.readonly")
    assert provider.oauth.scope_words[f"{AUTH}drive.readonly"] == "See"
    assert provider.oauth.authorize_params["access_type"] == "offline"


def test_a_server_that_is_not_googles_gets_none_of_googles_facts() -> None:
    document = openapi.read(json.dumps({**DRIVE, "ownerDomain": "acme.example"}).encode())
    assert "oauth" not in document.facts
    assert document.remarks


@pytest.mark.parametrize("junk", [None, 7, "x", [], {"a": None}])
def test_parts_that_are_not_what_they_should_be_never_break_the_import(junk: Any) -> None:
    method = dict.fromkeys(("id", "parameters", "request", "response", "scopes", "description"), junk)
    resources = {
        "a": {"methods": {"odd": {**method, "httpMethod": "GET", "path": "odd"}, "none": junk}, "resources": junk}
    }
    broken = {**DRIVE, "resources": {**DRIVE["resources"], **resources}, "schemas": {**DRIVE["schemas"], "Odd": junk}}
    assert "files_list" in {each.name for each in openapi.read(json.dumps(broken).encode()).entries}


@pytest.mark.needs_shared
@pytest.mark.skipif(not TASKS.exists(), reason="Google's discovery document is not beside the checkout")
def test_google_tasks_is_read_whole() -> None:
    document = openapi.read(TASKS.read_bytes())
    assert {each.name for each in document.entries} >= {"tasks_list", "tasks_insert", "tasklists_list"}
    assert not document.skipped
    listed = Manifest.of(document.entries).by_name["tasks_list"]
    assert (listed.scopes, listed.or_scopes) == ((f"{AUTH}tasks.readonly",), ((f"{AUTH}tasks",),))
    assert listed.call["path"] == "/tasks/v1/lists/{tasklist}/tasks"
    assert listed.call["page"]["cursor"] == "pageToken"
