"""The document says what is so: whatever is sent, nothing breaks, and no answer is one that it does not know."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import drf_spectacular
import jsonschema_rs
import pytest
import yaml
from django.test import Client
from drf_spectacular.drainage import GENERATOR_STATS

from metaagent.api.document import document
from tests.api.place import Place, operations
from tests.world import Served
from vault.models import Approval

HOW_LONG_S = float(os.environ.get("SCHEMATHESIS_S", "8"))
"""More finds more: SCHEMATHESIS_S=300 for five minutes."""
_http = Client(SERVER_NAME="127.0.0.1")


def test_the_document_is_valid_and_made_without_a_warning() -> None:
    operations()
    assert not GENERATOR_STATS, "see: manage.py spectacular --validate --fail-on-warn"
    rules = Path(drf_spectacular.__file__).parent / "validation" / "openapi_3_1_schema.json"
    jsonschema_rs.validator_for(json.loads(rules.read_text(encoding="utf-8"))).validate(document())


def test_the_document_is_public_and_json_unless_yaml_is_asked_for(database: None) -> None:
    plain = _http.get("/api/schema/")
    assert plain.headers["content-type"] == "application/json"
    found = plain.json()
    assert found["components"]["securitySchemes"]["clientKey"]["scheme"] == "bearer"
    written = _http.get("/api/schema/", headers={"Accept": "application/yaml"})
    assert written.headers["content-type"] == "application/yaml"
    assert yaml.load(written.content, yaml.CSafeLoader) == found
    assert _http.post("/api/schema/").status_code == 405


def test_every_operation_says_what_it_is_and_how_it_fails() -> None:
    names = [said["operationId"] for _, _, said in operations()]
    assert len(names) == len(set(names))
    for method, path, said in operations():
        assert said["summary"], path
        assert said["x-roles"], path
        assert {"400", "401", "403", "404", "406", "429"} <= said["responses"].keys()
        for status, answer in said["responses"].items():
            assert answer["description"], (path, status)
            assert (status == "401") != ("RateLimit" in answer.get("headers", {}))
            assert status < "300" or list(answer["content"]) == ["application/problem+json"]
        headers = {each["name"] for each in said.get("parameters", []) if each["in"] == "header"}
        assert ("Idempotency-Key" in headers) == (method == "POST")
        if method in {"POST", "PATCH"} and "requestBody" in said:
            assert said["requestBody"]["content"]["application/json"]["examples"], path


def test_the_page_lists_every_operation(database: None) -> None:
    page = _http.get("/api/")
    assert page.status_code == 200
    text = page.content.decode()
    assert len(text) < 60_000
    for _, path, said in operations():
        assert f'id="{said["operationId"]}"' in text
        assert path in text


def test_nothing_that_goes_in_secretly_comes_out(database: None) -> None:
    found = _http.get("/api/schema/").json()["components"]["schemas"]
    given = {name for name, said in found.items() if said.get("additionalProperties") is False}
    for name, said in found.items():
        if name not in given and name != "TokenImport":
            assert not {"client_secret", "access_token", "refresh_token"} & said.get("properties", {}).keys(), name


def test_whatever_is_sent_is_answered_as_the_document_says(
    place: Place, product: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    import schemathesis
    from schemathesis.config import SchemathesisConfig
    from schemathesis.engine import from_schema
    from schemathesis.engine.events import NonFatalError, ScenarioFinished

    looked_up = socket.getaddrinfo

    def here(host: Any, *rest: Any, **more: Any) -> Any:
        if host not in {"127.0.0.1", b"127.0.0.1"}:
            raise socket.gaierror(f"{host!r} is not looked for")
        return looked_up(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    place.install()
    mine = place.connection("member", place.document())
    place.asked(Approval, mine), place.consent(mine)
    config = SchemathesisConfig.from_dict(
        {
            "seed": 7,
            "base-url": product.url,
            "headers": {"Authorization": f"Bearer {place.keys['owner']}"},
            "parameters": {"path.tenant": place.tenant.slug, "path.slug": "library"},
            "generation": {"max-examples": 1_000 if HOW_LONG_S > 60 else 2, "database": "none", "no-shrink": True},
            "phases": {
                "examples": {"enabled": HOW_LONG_S > 60},
                "coverage": {"enabled": HOW_LONG_S > 60},
                "stateful": {"enabled": HOW_LONG_S > 60},
            },
            "checks": {
                "positive_data_acceptance": {"enabled": False},  # a name may be taken, a provider unknown
                "unsupported_method": {"enabled": True},
                "negative_data_rejection": {"expected-statuses": ["4xx"]},  # too long may be too large: 413
            },
            "max-time": HOW_LONG_S,
            "continue-on-failure": True,
        }
    )
    schema = schemathesis.openapi.from_dict(document(), config=config)
    asked, wrong = 0, {}
    for event in from_schema(schema).execute():
        if isinstance(event, NonFatalError):
            wrong[str(event.label)] = str(event.value)[:2_000]
        if not isinstance(event, ScenarioFinished):
            continue
        asked += len(event.recorder.interactions)
        for case_id, checks in event.recorder.checks.items():
            for check in checks:
                if check.failure_info is not None:
                    case = event.recorder.cases[case_id].value
                    answer = event.recorder.interactions[case_id].response
                    said = f"{check.failure_info.failure.message} {answer.status_code if answer else ''}"
                    wrong[f"{case.method} {case.path} {check.name}"] = (
                        f"{said}\n{case.path_parameters} {case.query} {case.headers} {str(case.body)[:400]}\n"
                        f"{answer.content[:400] if answer else ''!r}"
                    )
    assert not wrong, "\n\n".join(f"{where}: {what}" for where, what in list(wrong.items())[:12])
    assert asked > 20
    print(f"schemathesis: {asked} requests")  # noqa: T201 - for who lets it run longer
