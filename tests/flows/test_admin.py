"""Operators' pages: metadata to look at, a few things to end; for nobody else, and without a secret."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.conf import LazySettings
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import AuditEvent
from metaagent.operators import site
from metaagent.visitor import Visitor
from providers.models import Installation
from tenants import services as tenants
from tenants.models import ClientKey, Invitation, User
from tenants.oauth.models import AccessToken, Client, ClientGrant, Code, RefreshToken
from tests.oauth import OAuthClient
from tests.world import PASSWORD, Person, World
from vault.models import ClientSecret, Connection, SealedTokenSet, TenantKey

CANARY = "canary" + secrets.token_hex(8)


@pytest.fixture
def operator(world: World) -> Person:
    """Somebody who runs the deployment, and is in no tenant."""
    user = tenants.create_user(email=f"{secrets.token_hex(6)}@example.com", password=PASSWORD, operator=True)
    return Person(user, "")


@pytest.fixture
def inside(world: World, operator: Person) -> Iterator[Visitor]:
    """Their browser, logged in."""
    with Visitor() as visitor:
        world.log_in(visitor, operator)
        yield visitor


def act(world: World, visitor: Visitor, path: str, action: str, *ids: object) -> None:
    """Choose an action for some rows of a list."""
    visitor.open(f"{world.product.url}/admin/{path}/")
    visitor.send(visitor.form_with("action"), action=action, _selected_action=[str(each) for each in ids], index="0")
    assert visitor.page.status_code == 200, visitor.page.text


def test_exactly_this_is_registered_and_nothing_by_the_libraries() -> None:
    assert {model._meta.label for model in site._registry} == {
        *("tenants.Tenant", "tenants.User", "tenants.Membership", "tenants.ClientKey"),
        *("providers.Installation", "vault.Connection", "oauth.ClientGrant", "audit.AuditEvent"),
    }
    assert not admin.site._registry


def test_to_anybody_but_operators_there_is_nothing_here(world: World) -> None:
    paths = ["", "login/", "tenants/user/", f"tenants/user/{world.me.user.pk}/", "nothing/here/", "password_change/"]
    with Visitor() as visitor:
        for path in paths:
            answer = visitor.http.get(f"{world.product.url}/admin/{path}")
            assert answer.status_code == 302
            assert answer.headers["location"].startswith("/login/?next=/admin/")
        world.log_in(visitor)
        unknown = visitor.open(f"{world.product.url}/nothing-like-this/")
        for path in paths:
            answer = visitor.http.get(f"{world.product.url}/admin/{path}")
            assert (answer.status_code, answer.text) == (404, unknown.text)


def test_the_way_in_is_the_ordinary_one_and_leads_back(world: World, operator: Person) -> None:
    with Visitor() as visitor:
        visitor.open(f"{world.product.url}/admin/tenants/tenant/")
        world.log_in(visitor, operator)
        assert visitor.page.url.path == "/admin/tenants/tenant/"
        assert "unsafe" not in visitor.page.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["login/", "password_change/", "autocomplete/", "r/1/1/", "oauth/accesstoken/"])
def test_pages_that_are_not_ours_to_offer_are_gone(world: World, inside: Visitor, path: str) -> None:
    assert inside.open(f"{world.product.url}/admin/{path}").status_code == 404


def test_no_page_shows_a_secret(world: World, inside: Visitor, operator: Person) -> None:
    connected = world.connect()
    _let_a_client_in(world)
    planted = _plant(world)
    shown = 0
    for model in site._registry:
        meta = model._meta
        base = f"{world.product.url}/admin/{meta.app_label}/{meta.model_name}/"
        rows = list(model._default_manager.filter(pk__in=planted.get(meta.label, [])).values_list("pk", flat=True))
        if meta.label == "audit.AuditEvent":
            rows = list(AuditEvent.objects.filter(tenant_id=world.tenant.pk).values_list("pk", flat=True)[:3])
        assert rows, meta.label
        for address in (
            base,
            f"{base}?q={world.me.user.email}",
            f"{base}?q={CANARY}",
            *(f"{base}{pk}/change/" for pk in rows),
        ):
            inside.open(address)
            assert inside.page.status_code == 200, (address, inside.page.text)
            assert CANARY not in inside.page.text.replace(f'value="{CANARY}"', ""), address
            assert str(inside.page.url) == address
            shown += 1
    assert shown >= 32
    assert str(connected.pk) in planted["vault.Connection"]


@pytest.mark.parametrize(
    "lookup",
    [
        *("user/?password__startswith=md5", "clientkey/?digest__startswith=a", "user/?password__isnull=False"),
        *("membership/?user__password__startswith=m", "tenant/?memberships__user__email=x"),
    ],
)
def test_nothing_is_asked_for_letter_by_letter(world: World, inside: Visitor, lookup: str) -> None:
    assert inside.open(f"{world.product.url}/admin/tenants/{lookup}").status_code == 400


def test_nothing_is_added_changed_or_deleted(world: World, inside: Visitor, operator: Person) -> None:
    user = f"tenants/user/{world.me.user.pk}"
    token = next(form for form in inside.forms() if "logout" in form.action).fields["csrfmiddlewaretoken"]
    for path in ("tenants/tenant/add/", f"{user}/change/", f"{user}/delete/", f"{user}/history/", "tenants/user/"):
        url = f"{world.product.url}/admin/{path}"
        data = {
            "csrfmiddlewaretoken": token,
            "is_staff": "on",
            "is_superuser": "on",
            "email": "x@example.com",
            "action": "delete_selected",
            "_selected_action": str(world.me.user.pk),
            "post": "yes",
        }
        assert inside.http.post(url, data=data, headers={"Referer": url}).status_code in {302, 403, 404}
    row = User.objects.get(pk=world.me.user.pk)
    assert (row.is_staff, row.is_superuser, row.email) == (False, False, world.me.user.email)


def test_whatever_is_sent_wants_a_recent_password(world: World, inside: Visitor, settings: LazySettings) -> None:
    key = ClientKey.objects.get(membership__user=world.me.user)
    inside.open(f"{world.product.url}/admin/tenants/clientkey/")
    form = inside.form_with("action")
    settings.CONFIRM_S = 0
    inside.send(form, action="revoke", _selected_action=[str(key.pk)], index="0")
    assert inside.page.url.path == "/confirm/"
    key.refresh_from_db()
    assert key.revoked_at is None


def test_what_is_ended_is_on_record_with_who_did_it(world: World, inside: Visitor, operator: Person) -> None:
    connected = world.connect()
    _let_a_client_in(world)
    key = ClientKey.objects.get(membership__user=world.me.user)
    grant = ClientGrant.objects.get(membership__tenant=world.tenant)
    other = world.person()
    Authenticator.objects.create(user=other.user, type="totp", data={})
    act(world, inside, "vault/connection", "revoke", connected.pk)
    act(world, inside, "tenants/clientkey", "revoke", key.pk)
    act(world, inside, "oauth/clientgrant", "end", grant.pk)
    act(world, inside, "tenants/user", "remove_factors", other.user.pk)
    act(world, inside, "tenants/user", "deactivate", other.user.pk)
    connected.refresh_from_db()
    key.refresh_from_db()
    grant.refresh_from_db()
    other.user.refresh_from_db()
    assert connected.status == "revoked"
    assert key.revoked_at
    assert grant.ended_at
    assert not other.user.is_active
    assert not Authenticator.objects.filter(user=other.user).exists()
    done = AuditEvent.objects.filter(tenant_id=world.tenant.pk, user_id=operator.user.pk).order_by("seq")
    assert [kind for kind in done.values_list("kind", flat=True) if kind != "audit.read.done"] == [
        *("connection.revoke.intent", "connection.revoke.done", "key.revoke.done", "grant.end.done"),
        *("login.factor.removed", "user.deactivate.done"),
    ]


def test_the_last_owner_of_a_tenant_stays(world: World, inside: Visitor) -> None:
    tenants.add_member(tenant=world.tenant, user=world.me.user, role="owner", by=None)
    act(world, inside, "tenants/user", "deactivate", world.me.user.pk)
    world.me.user.refresh_from_db()
    assert world.me.user.is_active


def test_reading_the_log_here_is_recorded_too(world: World, inside: Visitor, operator: Person) -> None:
    inside.open(f"{world.product.url}/admin/audit/auditevent/?q={world.tenant.pk}")
    assert inside.page.status_code == 200
    event = world.events("tenant.create.done")[0]
    inside.open(f"{world.product.url}/admin/audit/auditevent/{event.pk}/change/")
    read = [each for each in world.events("audit.read.done") if each.user_id == operator.user.pk]
    assert [each.detail["what"] for each in read] == ["list", "event"]


def test_a_long_log_is_neither_counted_nor_sorted(world: World, operator: Person) -> None:
    from django.test import RequestFactory

    request = RequestFactory().get("/admin/audit/auditevent/")
    request.user = operator.user
    log = site._registry[AuditEvent]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = log.get_changelist_instance(request)
        assert found.result_count <= 1_000
    asked = [query["sql"] for query in queries if "audit_auditevent" in query["sql"]]
    assert asked
    assert all("LIMIT" in sql for sql in asked)
    assert all('ORDER BY "audit_auditevent"."seq" DESC' in sql for sql in asked)


def _let_a_client_in(world: World) -> None:
    uri = "http://127.0.0.1:33418/callback"
    made = {"client_type": "public", "authorization_grant_type": "authorization-code", "registration_source": "dcr"}
    row = Client.objects.create(**made, redirect_uris=uri, name="A client")
    OAuthClient(world, redirect_uri=uri, client_id=row.client_id).signed_in()


def _plant(world: World) -> dict[str, list[object]]:
    """A canary in every column that holds a secret or its digest, and the rows that the pages are to be opened for."""
    me, now = world.me.user, datetime.now(UTC)
    member = me.memberships.get()
    User.objects.filter(pk=me.pk).update(password=CANARY)
    ClientKey.objects.filter(membership=member).update(digest=CANARY)
    Installation.objects.filter(pk=world.installation.pk).update(
        client_id=CANARY, facts={"x": CANARY}, overrides={"x": CANARY}, url=CANARY, api_base=CANARY
    )
    blob = CANARY.encode()
    TenantKey.objects.filter(tenant=world.tenant).update(wrapped=blob, kek_uri=CANARY)
    ClientSecret.objects.filter(installation=world.installation).update(sealed=blob)
    Connection.objects.filter(tenant=world.tenant).update(grant=CANARY, account_id=CANARY, api_base=CANARY)
    SealedTokenSet.objects.filter(connection__tenant=world.tenant).update(access=blob, refresh=blob)
    grants = ClientGrant.objects.filter(membership=member)
    Client.objects.filter(grants__in=grants).update(client_secret=CANARY)
    Code.objects.filter(grant__in=grants).update(code=CANARY)
    AccessToken.objects.filter(grant__in=grants).update(token=CANARY, token_checksum=CANARY)
    RefreshToken.objects.filter(grant__in=grants).update(token=CANARY, token_checksum=CANARY)
    Invitation.objects.create(
        tenant=world.tenant, email="x@example.com", digest=CANARY, created_at=now, expires_at=now + timedelta(days=1)
    )
    Authenticator.objects.create(user=me, type="totp", data={"secret": CANARY})
    app = SocialApp.objects.create(provider="x", name="x", client_id="x", secret=CANARY)
    account = SocialAccount.objects.create(user=me, provider="x", uid=secrets.token_hex(8), extra_data={"x": CANARY})
    SocialToken.objects.create(app=app, account=account, token=CANARY)
    return {
        "tenants.Tenant": [world.tenant.pk],
        "tenants.User": [me.pk],
        "tenants.Membership": [member.pk],
        "tenants.ClientKey": list(ClientKey.objects.filter(membership=member).values_list("pk", flat=True)),
        "providers.Installation": [world.installation.pk],
        "vault.Connection": [
            str(pk) for pk in Connection.objects.filter(tenant=world.tenant).values_list("pk", flat=True)
        ],
        "oauth.ClientGrant": list(grants.values_list("pk", flat=True)),
    }
