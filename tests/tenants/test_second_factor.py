"""A second factor: set up by its owner, asked for when logging in, kept so that the database alone gives nobody in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import struct
import time

import pytest
from allauth.core.context import request_context
from allauth.mfa.models import Authenticator
from django.conf import LazySettings
from django.core.cache import cache
from django.test import RequestFactory

from audit.models import AuditEvent
from metaagent.visitor import Visitor
from tenants.second.factors import Factors
from tests.world import PASSWORD, Person, World


def code_of(secret: str, *, later: int = 0) -> str:
    """RFC 6238, written down once more: what an app shows now, or `later` half minutes from now."""
    mac = hmac.digest(base64.b32decode(secret), struct.pack(">Q", int(time.time()) // 30 + later), hashlib.sha1)
    at = mac[-1] & 15
    return f"{(int.from_bytes(mac[at : at + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"


def set_up(world: World, visitor: Visitor) -> str:
    """An app, by somebody who is logged in; their secret."""
    visitor.open(f"{world.product.url}/account/second/app/")
    secret = re.search(r"<code>([A-Z2-7]{32})</code>", visitor.page.text)
    assert secret is not None
    visitor.send(visitor.form_with("code"), code=code_of(secret[1]))
    assert visitor.page.url.path == "/account/second/codes/", visitor.page.text
    return secret[1]


def with_app(world: World) -> tuple[Person, str, list[str]]:
    """Somebody who has set up an app, its secret, and their recovery codes."""
    person = world.person()
    with Visitor() as visitor:
        world.log_in(visitor, person)
        secret = set_up(world, visitor)
        return person, secret, re.findall(r"<code>(\d{8})</code>", visitor.page.text)


def kinds(world: World, person: Person) -> list[str]:
    events = AuditEvent.objects.filter(tenant_id=world.tenant.pk, user_id=person.user.pk, kind__startswith="login.")
    return list(events.order_by("seq").values_list("kind", flat=True))


def inside(world: World, visitor: Visitor) -> bool:
    return visitor.open(f"{world.product.url}/connections/").url.path == "/connections/"


def test_after_the_password_a_code_is_asked_for_and_nobody_is_in_before(world: World) -> None:
    person, secret, codes = with_app(world)
    assert len(set(codes)) == 10
    with Visitor() as visitor:
        visitor.open(f"{world.product.url}/login/?next=/account/")
        world.log_in(visitor, person)
        assert visitor.page.url.path == "/account/second/enter/"
        asked = visitor.form_with("code")
        assert not inside(world, visitor)
        visitor.send(asked, code="000000")
        assert visitor.page.status_code == 401
        assert "That is not right" in visitor.page.text
        visitor.send(visitor.form_with("code"), code=code_of(secret))
        assert visitor.page.url.path == "/account/"
    assert kinds(world, person) == [
        "login.password.done",
        "login.factor.added",
        "login.factor.refused",
        "login.password.done",
    ]


def test_a_code_and_a_recovery_code_each_count_once(world: World) -> None:
    person, secret, codes = with_app(world)
    ways = [code_of(secret, later=1), codes[3]]
    for way in ways:
        results = []
        for _ in range(2):
            with Visitor() as visitor:
                world.log_in(visitor, person)
                visitor.send(visitor.form_with("code"), code=way)
                results.append(inside(world, visitor))
        assert results == [True, False]


def test_too_many_wrong_codes_make_a_pause_even_for_the_right_one(world: World, settings: LazySettings) -> None:
    person, secret, _ = with_app(world)
    settings.ACCOUNT_RATE_LIMITS = {"login_failed": "3/h/key"}
    with Visitor() as visitor:
        world.log_in(visitor, person)
        statuses = [
            visitor.send(visitor.form_with("code"), code=code).status_code
            for code in ("000000", "000001", "000002", code_of(secret))
        ]
        assert statuses == [401, 401, 401, 429]
        assert not inside(world, visitor)
    cache.clear()


def test_neither_secret_nor_recovery_codes_can_be_read_from_the_database(world: World) -> None:
    person, secret, codes = with_app(world)
    stored = str(list(Authenticator.objects.filter(user=person.user).values_list("data", flat=True)))
    assert secret not in stored
    assert not [code for code in codes if code in stored]
    assert stored.count("gAAAA") == 2


def test_what_a_former_key_sealed_opens_and_what_no_key_sealed_lets_nobody_in(
    world: World, settings: LazySettings
) -> None:
    person, secret, _ = with_app(world)
    now = settings.SECRET_KEY
    row = Authenticator.objects.get(user=person.user, type="totp")
    with request_context(RequestFactory().get("/")):
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 60, [now]
        assert Factors().decrypt(row.data["secret"]) == secret
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = now, []
    Authenticator.objects.filter(pk=row.pk).update(data={"secret": "gAAAAnonsense"})
    with Visitor() as visitor:
        world.log_in(visitor, person)
        visitor.send(visitor.form_with("code"), code=code_of(secret))
        assert visitor.page.status_code == 401
        assert not inside(world, visitor)


@pytest.mark.parametrize("path", ["app/", "app/off/", "codes/", "codes/anew/", "passkeys/add/", "passkeys/1/remove/"])
def test_what_shows_or_changes_a_factor_wants_a_recent_password(
    world: World, settings: LazySettings, path: str
) -> None:
    with Visitor() as visitor:
        assert visitor.open(f"{world.product.url}/account/second/{path}").url.path == "/login/"
        world.log_in(visitor)
        settings.CONFIRM_S = 0
        assert visitor.open(f"{world.product.url}/account/second/{path}").url.path == "/confirm/"
        token = visitor.form_with("password").fields["csrfmiddlewaretoken"]
        url = f"{world.product.url}/account/second/{path}"
        answer = visitor.http.post(url, data={"csrfmiddlewaretoken": token}, headers={"Referer": url})
        assert answer.status_code == 302
        assert answer.headers["location"].startswith("/confirm/")


def test_taking_the_app_away_takes_its_codes_and_is_on_record(world: World) -> None:
    person, secret, _ = with_app(world)
    with Visitor() as visitor:
        world.log_in(visitor, person)
        visitor.send(visitor.form_with("code"), code=code_of(secret, later=1))
        visitor.open(f"{world.product.url}/account/second/app/off/")
        visitor.send(next(form for form in visitor.forms() if "logout" not in form.action))
        assert visitor.page.url.path == "/account/"
    assert not Authenticator.objects.filter(user=person.user).exists()
    assert kinds(world, person)[-1] == "login.factor.removed"
    with Visitor() as visitor:
        world.log_in(visitor, person)
        assert inside(world, visitor)


def test_who_has_no_password_confirms_with_a_code(world: World, settings: LazySettings) -> None:
    person, secret, codes = with_app(world)
    with Visitor() as visitor:
        world.log_in(visitor, person)
        visitor.send(visitor.form_with("code"), code=code_of(secret, later=1))
        visitor.open(f"{world.product.url}/account/second/codes/")
        assert visitor.page.url.path == "/account/second/codes/", "a completed log-in counts"
        person.user.refresh_from_db()
        type(person.user).objects.filter(pk=person.user.pk).update(password="!none")
    # Another password ends the sessions, so the one below is made without: what counts is the page that asks.
    type(person.user).objects.filter(pk=person.user.pk).update(password=person.user.password)
    with Visitor() as visitor:
        world.log_in(visitor, person)
        visitor.send(visitor.form_with("code"), code=codes[0])
        settings.CONFIRM_S = 0
        visitor.open(f"{world.product.url}/account/second/codes/")
        settings.CONFIRM_S = 600
        form = visitor.form_with("password")
        given = {name: values[0] for name, values in form.fields.items() if name != "password"}
        url = f"{world.product.url}/confirm/"
        for code, leads in (("00000000", None), (codes[1], "/account/second/codes/")):
            answer = visitor.http.post(url, data={**given, "code": code}, headers={"Referer": url})
            assert answer.headers.get("location") == leads


def test_a_page_elsewhere_is_never_gone_on_to_and_a_client_may_be(world: World) -> None:
    person, secret, _ = with_app(world)
    with Visitor() as visitor:
        visitor.open(f"{world.product.url}/login/?next=//evil.example/")
        world.log_in(visitor, person)
        visitor.send(visitor.form_with("code"), code=code_of(secret, later=1), next="https://evil.example/")
        assert str(visitor.page.url) == f"{world.product.url}/connections/"
    with Visitor() as visitor:
        visitor.open(f"{world.product.url}/login/?next=/o/authorize/%3Fclient_id=x")
        world.log_in(visitor, person)
        policy = visitor.page.headers["content-security-policy"]
        assert "form-action 'self' http: https:" in policy
        assert "unsafe" not in policy


@pytest.mark.parametrize(
    "path",
    [
        *("accounts/login/", "accounts/signup/", "accounts/password/reset/", "accounts/email/", "accounts/2fa/"),
        *(
            "account/signup/",
            "account/second/reauthenticate/",
            "account/second/codes/download/",
            "account/second/trust/",
        ),
        *("account/second/passkeys/signup/", "account/second/passkeys/reauthenticate/", "account/social/signup/"),
        *(
            "accounts/confirm-email/",
            "account/second/passkeys/keys/1/edit/",
            "accounts/oidc/oidc/login/",
            "account/second/",
        ),
    ],
)
def test_of_the_library_nothing_else_has_an_address(world: World, path: str) -> None:
    with world.product.http as http:
        assert http.get(f"/{path}").status_code == 404


def test_the_page_tells_nothing_to_whoever_did_not_say_the_password(world: World) -> None:
    with world.product.http as http:
        assert http.get("/account/second/enter/").headers["location"] == "/login/"


def test_the_picture_is_an_element_and_needs_no_exception(world: World) -> None:
    with Visitor() as visitor:
        world.log_in(visitor)
        visitor.open(f"{world.product.url}/account/second/app/")
        assert '<svg width="' in visitor.page.text
        assert "data:image" not in visitor.page.text
        assert "img-src 'self';" in f"{visitor.page.headers['content-security-policy']};"


def test_an_old_password_form_still_works_as_before(world: World) -> None:
    with Visitor() as visitor:
        visitor.open(f"{world.product.url}/login/")
        visitor.send(visitor.form_with("password"), email=world.me.user.email, password=PASSWORD)
        assert visitor.page.url.path == "/connections/"
