"""Logging in and out."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.core.cache import cache

from metaagent.visitor import Visitor
from tests.world import PASSWORD, World


def test_a_wrong_password_is_one_kind_sentence_that_tells_nothing(world: World) -> None:
    with Visitor() as visitor:
        sentences = []
        for email in (world.me.user.email, "nobody@example.com"):
            visitor.open(f"{world.product.url}/login/")
            visitor.send(visitor.form_with("password"), email=email, password="wrong")
            assert visitor.page.status_code == 401
            sentences.append("E-mail or password is not right" in visitor.page.text)
        assert sentences == [True, True]


def test_too_many_wrong_passwords_make_a_pause(world: World) -> None:
    person = world.person()
    cache.clear()  # the address is every test's
    settings.LOGIN_FAILURES_PER_HOUR = 3
    try:
        with Visitor() as visitor:
            statuses = []
            for _ in range(5):
                visitor.open(f"{world.product.url}/login/")
                visitor.send(visitor.form_with("password"), email=person.user.email, password="wrong")
                statuses.append(visitor.page.status_code)
            assert statuses == [401, 401, 401, 429, 429]
    finally:
        settings.LOGIN_FAILURES_PER_HOUR = 1000


@pytest.mark.parametrize(
    "onward", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil.example"]
)
def test_logging_in_never_leads_elsewhere(world: World, onward: str) -> None:
    with Visitor() as visitor:
        visitor.open(f"{world.product.url}/login/?next={onward}")
        visitor.send(visitor.form_with("password"), email=world.me.user.email, password=PASSWORD)
        assert str(visitor.page.url).startswith(f"{world.product.url}/connections/")


def test_a_form_from_elsewhere_is_refused(world: World) -> None:
    with Visitor() as visitor:
        data = {"email": world.me.user.email, "password": PASSWORD}
        answer = visitor.http.post(f"{world.product.url}/login/", data=data, headers={"Origin": "https://evil.example"})
        assert answer.status_code == 403
        assert "Traceback" not in answer.text


def test_logging_out_ends_the_session(world: World) -> None:
    with Visitor() as visitor:
        world.log_in(visitor)
        visitor.send(next(form for form in visitor.forms() if "logout" in form.action))
        assert visitor.open(f"{world.product.url}/connections/").url.path == "/login/"


def test_one_person_cannot_disconnect_for_another(world: World) -> None:
    connection, other = world.connect(), world.person()
    with Visitor() as visitor:
        world.log_in(visitor, other)
        token = visitor.forms()[0].fields["csrfmiddlewaretoken"]
        url = f"{world.product.url}/connections/{connection.pk}/disconnect/"
        answer = visitor.http.post(url, data={"csrfmiddlewaretoken": token}, headers={"Referer": url})
        assert answer.status_code == 404
    connection.refresh_from_db()
    assert connection.status == "ready"


def test_pages_are_kept_by_nobody_and_framed_by_nobody(world: World) -> None:
    with Visitor() as visitor:
        visitor.open(f"{world.product.url}/login/")
        headers = visitor.page.headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


def test_health_says_what_is_well(world: World) -> None:
    with world.product.http as http:
        assert http.get("/healthz").text == "ok"
        assert http.get("/readyz").json() == {"database": "ok", "kek": "ok", "audit": "ok"}
        missing = http.get("/nothing-here")
    assert missing.status_code == 404
    assert "There is nothing at this address" in missing.text
