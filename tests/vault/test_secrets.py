"""No secret leaves the vault: a whole life of a connection, and then a search of everything that was written."""

from __future__ import annotations

import logging
from urllib.parse import parse_qs, urlsplit

import pytest
from django.apps import apps
from django.conf import settings
from django.db.models import BinaryField
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from metaagent.visitor import Visitor
from tests.vault.test_access import expire
from tests.world import PASSWORD, Served, World
from vault.models import Connection, SealedTokenSet
from vault.services import access, revoke
from vault.services.clients import client_of
from vault.services.sealed import fields_of, open_token


def held(connection: Connection) -> list[str]:
    """The tokens of a connection in plain text."""
    row = SealedTokenSet.objects.get(connection=connection)
    return [open_token(connection, row, field) for field in fields_of(row)]


def dumped() -> str:
    """Every table, the ciphertexts left out."""
    rows = (row for model in apps.get_models() for row in model._default_manager.all())
    return "\n".join(
        f"{row._meta.label} {[getattr(row, f.attname) for f in row._meta.fields if not isinstance(f, BinaryField)]}"
        for row in rows
    )


@pytest.fixture
def spans(product: Served, monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What a collector would get, with TELEMETRY_CONTENT on."""
    from metaagent.asgi import runtime

    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setattr(runtime.telemetry, "_tracer", provider.get_tracer("test"))
    monkeypatch.setattr(runtime.telemetry, "_content", True)
    return memory


def test_no_secret_is_in_logs_database_pages_answers_numbers_or_spans(
    world: World, caplog: pytest.LogCaptureFixture, spans: InMemorySpanExporter
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [world.ask("who am I?")]
    link = answers[0].structured_content["error"]["connect_url"]
    secrets = [world.me.key, PASSWORD, *parse_qs(urlsplit(link).query)["link"]]
    pages = []
    with Visitor() as visitor:
        world.begin(visitor, link)
        world.approve(visitor)
        secrets += [visitor.http.cookies[name] for name in (settings.SESSION_COOKIE_NAME, settings.CONNECT_COOKIE_NAME)]
        secrets += (
            parse_qs(visitor.page.url.query.decode())["code"] + parse_qs(visitor.page.url.query.decode())["state"]
        )
        pages += [visitor.page.text, visitor.open(f"{world.product.url}/connections/").text]
    connection = Connection.objects.get(owner=world.me.user)
    secret = client_of(world.installation).secret
    assert secret is not None
    secrets += [secret, *held(connection)]
    answers.append(world.call_tool("who_am_i"))
    expire(connection)
    assert access.access(connection.pk).version == 2
    secrets += held(connection)
    world.faults(status=500)
    answers.append(world.call_tool("who_am_i"))
    world.faults()
    revoke.disconnect(connection=connection, by=world.me.user.pk)
    with world.product.http as http:
        numbers = http.get("/metrics").text
    written = {
        "log": caplog.text,
        "database": dumped(),
        "pages": "\n".join(pages),
        "answers": "\n".join(map(repr, answers[1:])),
        "numbers": numbers,
        "spans": "\n".join(span.to_json() for span in spans.get_finished_spans()),
    }
    assert len(secrets) == 12
    assert world.me.user.email in written["database"]
    assert "needs_auth" in written["numbers"]
    assert "execute_tool who_am_i" in written["spans"]
    found = {(place, number) for place, text in written.items() for number, it in enumerate(secrets) if it in text}
    assert not found
