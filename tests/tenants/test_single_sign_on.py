"""Single sign-on against an issuer that is really asked: who is let in, who is linked, who is not."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialToken
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import LazySettings
from django.core.cache import cache

from audit.models import AuditEvent
from metaagent.visitor import Visitor
from tenants import services as tenants
from tenants.models import Session, User
from tests.issuer import CLIENT_ID, CLIENT_SECRET, Issuer
from tests.services import free_port
from tests.world import PASSWORD, Person, World, serve


@pytest.fixture(scope="module")
def served() -> Iterator[Issuer]:
    issuer = Issuer()
    with serve(issuer, free_port()) as where:
        issuer.url = where.url
        yield issuer


@pytest.fixture
def issuer(served: Issuer, settings: LazySettings) -> Iterator[Issuer]:
    """The deployment's own, which knows nobody yet."""
    settings.OIDC_ISSUER, settings.OIDC_NAME = served.url, "Acme ID"
    settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET
    served.claims, served.signs_with, served.named = {}, None, None
    cache.clear()
    yield served
    cache.clear()


def come(world: World, visitor: Visitor, *, onward: str = "/connections/", **claims: Any) -> str:
    """Log in by the button; where it ends."""
    visitor.open(f"{world.product.url}/login/?next={onward}")
    visitor.send(next(form for form in visitor.forms() if form.action == "/login/single/"))
    return visitor.page.url.path


def known(issuer: Issuer, person: Person | None = None, **claims: Any) -> dict[str, Any]:
    """The issuer knows somebody: this person, by an address it has verified."""
    said = {"sub": secrets.token_hex(8), "email_verified": True, "name": "Ada Lovelace"}
    issuer.claims = {**said, **({"email": person.user.email} if person else {}), **claims}
    return issuer.claims


def kinds(world: World, person: Person) -> list[str]:
    events = AuditEvent.objects.filter(tenant_id=world.tenant.pk, user_id=person.user.pk, kind__startswith="login.")
    return list(events.order_by("seq").values_list("kind", flat=True))


def test_without_an_issuer_there_is_neither_button_nor_address(world: World) -> None:
    with Visitor() as visitor:
        visitor.open(f"{world.product.url}/login/")
        assert "single" not in visitor.page.text
        assert "https:" not in visitor.page.headers["content-security-policy"]
        assert visitor.open(f"{world.product.url}/login/single/callback/").status_code == 404


def test_a_verified_address_links_once_and_then_the_subject_alone_counts(world: World, issuer: Issuer) -> None:
    person = world.person()
    said = known(issuer, person, email=person.user.email.upper())
    with Visitor() as visitor:
        assert come(world, visitor, onward="/apps/") == "/apps/"
    issuer.claims = {"sub": said["sub"], "email": "another@example.com", "email_verified": False}
    with Visitor() as visitor:
        assert come(world, visitor) == "/connections/"
        assert person.user.email in visitor.page.text
    assert kinds(world, person) == ["login.single.linked", "login.single.done", "login.single.done"]
    assert {each["code_challenge_method"] for each in issuer.asked} == {"S256"}
    assert "/userinfo" not in issuer.seen


@pytest.mark.parametrize(
    "claims",
    [
        {"email_verified": False},
        {"email_verified": "true"},
        {"email_verified": None},
        {"email": "nobody-here@example.com"},
        {"email": ["a", "b"]},
        {"email": None},
    ],
)
def test_without_a_verified_address_of_somebody_here_nobody_is_let_in(
    world: World, issuer: Issuer, claims: dict[str, Any]
) -> None:
    person = world.person()
    known(issuer, person, **claims)
    people = User.objects.count()
    with Visitor() as visitor:
        assert come(world, visitor) == "/login/"
        assert "Acme ID" in visitor.page.text
        assert visitor.open(f"{world.product.url}/connections/").url.path == "/login/"
    assert not SocialAccount.objects.filter(user=person.user).exists()
    assert User.objects.count() == people


def test_an_address_that_was_given_to_somebody_else_opens_nothing(world: World, issuer: Issuer) -> None:
    person = world.person()
    known(issuer, person)
    with Visitor() as visitor:
        assert come(world, visitor) == "/connections/"
    known(issuer, person)
    with Visitor() as visitor:
        assert come(world, visitor) == "/login/"


def test_a_subject_of_another_issuer_is_somebody_else(world: World, issuer: Issuer, settings: LazySettings) -> None:
    person = world.person()
    SocialAccount.objects.create(user=person.user, provider="https://former.example.com", uid="one")
    issuer.claims = {"sub": "one"}
    with Visitor() as visitor:
        assert come(world, visitor) == "/login/"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example.com"},
        {"aud": "another-client"},
        {"aud": [CLIENT_ID, "another-client"], "azp": "another-client"},
        {"exp": 1_000},
        {"nonce": "of another request"},
        {"nonce": None},
        {"sub": "x" * 200},
        {"sub": ""},
    ],
)
def test_an_id_token_that_is_not_for_us_and_now_lets_nobody_in(
    world: World, issuer: Issuer, claims: dict[str, Any]
) -> None:
    known(issuer, world.person(), **claims)
    with Visitor() as visitor:
        assert come(world, visitor) == "/login/"
        assert visitor.page.status_code == 200


def test_a_signature_of_another_key_lets_nobody_in(world: World, issuer: Issuer) -> None:
    known(issuer, world.person())
    issuer.signs_with = rsa.generate_private_key(65_537, 2_048)
    with Visitor() as visitor:
        assert come(world, visitor) == "/login/"


def test_metadata_that_name_another_issuer_are_not_believed(world: World, issuer: Issuer) -> None:
    issuer.named = "https://evil.example.com"
    with Visitor() as visitor:
        assert come(world, visitor) == "/login/"
        assert "cannot be reached" in visitor.page.text


def test_an_answer_without_the_browser_that_asked_or_a_second_time_is_refused(world: World, issuer: Issuer) -> None:
    known(issuer, world.person())
    with Visitor(stops_at=f"{world.product.url}/login/single/callback/") as visitor, Visitor() as another:
        come(world, visitor)
        answer = str(visitor.page.next_request.url)  # type: ignore[union-attr] # it stopped there
        assert another.open(answer).url.path == "/login/"
        assert visitor.open(f"{answer}&iss=https://evil.example.com").status_code in {200, 302}
        exchanged = len(issuer.exchanged)
        visitor.stops_at = None
        assert visitor.open(answer).url.path == "/connections/"
        assert visitor.http.get(answer).headers["location"] != "/connections/"
        assert len(issuer.exchanged) == exchanged + 1


def test_people_are_made_only_where_the_operator_wants_it(world: World, issuer: Issuer, settings: LazySettings) -> None:
    email = f"{secrets.token_hex(6)}@example.com"
    known(issuer, email=email)
    with Visitor() as visitor:
        assert come(world, visitor) == "/login/"
        settings.OIDC_CREATE_USERS = True
        assert come(world, visitor) == "/connections/"
    made = User.objects.get(email=email)
    assert (made.name, made.is_staff, made.has_usable_password()) == ("Ada Lovelace", False, False)
    assert not made.memberships.exists()


def test_the_password_stays_and_a_second_factor_is_asked_for(world: World, issuer: Issuer) -> None:
    person = world.person()
    Authenticator.objects.create(user=person.user, type="totp", data={"secret": "unreadable"})
    known(issuer, person)
    with Visitor() as visitor:
        assert come(world, visitor) == "/account/second/enter/"
        waiting = Session.objects.get(session_key=_row(visitor)).get_decoded()
        assert "opaque-access-token" not in str(waiting)
        assert person.user.password not in str(waiting)
        assert visitor.open(f"{world.product.url}/connections/").url.path == "/login/"
    person.user.refresh_from_db()
    assert person.user.check_password(PASSWORD)


def test_who_may_not_log_in_any_more_is_not_let_in_this_way_either(world: World, issuer: Issuer) -> None:
    person = world.person()
    known(issuer, person)
    with Visitor() as visitor:
        come(world, visitor)
    tenants.deactivate(user=person.user, by=None)
    with Visitor() as visitor:
        assert come(world, visitor) == "/login/"


def test_an_issuers_word_may_be_old_so_what_is_weighty_asks_there_anew(world: World, issuer: Issuer) -> None:
    person = world.person()
    said = known(issuer, person)
    with Visitor() as visitor:
        come(world, visitor)
        User.objects.filter(pk=person.user.pk).update(password=person.user.password)
        visitor.open(f"{world.product.url}/account/second/app/")
        assert visitor.page.url.path == "/confirm/"
        again = next(form for form in visitor.forms() if form.action == "/login/single/")
        for claims in ({"auth_time": 1_000}, {"auth_time": None}, {"sub": "somebody-else"}):
            issuer.claims = {**said, **claims}
            visitor.send(again)
            assert visitor.page.url.path == "/confirm/", claims
        issuer.claims = said
        visitor.send(again)
        assert visitor.page.url.path == "/account/second/app/"
        assert (issuer.asked[-1]["prompt"], issuer.asked[-1]["max_age"]) == ("login", "0")


def test_nothing_the_issuer_sent_is_kept_but_its_name_for_them(world: World, issuer: Issuer) -> None:
    person = world.person()
    known(issuer, person)
    with Visitor() as visitor:
        come(world, visitor)
    row = SocialAccount.objects.get(user=person.user)
    assert (row.provider, row.uid, row.extra_data) == (issuer.url, issuer.claims["sub"], {})
    assert not SocialToken.objects.filter(account=row).exists()


def test_a_log_in_cannot_be_begun_for_somebody_from_elsewhere(world: World, issuer: Issuer) -> None:
    with world.product.http as http:
        assert http.get("/login/single/").status_code == 405
        assert http.post("/login/single/", headers={"Origin": "https://evil.example"}).status_code == 403


def _row(visitor: Visitor) -> str:
    from tenants.sessions import _name

    return _name(visitor.http.cookies["session"])
