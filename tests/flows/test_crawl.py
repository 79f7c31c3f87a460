"""Every address, as every role, with another tenant's ids in every place: as if they were not there at all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext

from providers.models import Installation
from tenants import services as tenants
from tenants.models import Role
from tests.addresses import UNKNOWN, Place, places
from tests.town import Town, town
from tests.world import Served

CANARY = "canary-of-another-tenant"
_SINGULAR = {
    "members": "membership_id",
    "invitations": "invitation_id",
    "connections": "connection_id",
    "consents": "consent_id",
    "approvals": "approval_id",
    "keys": "key_id",
}
_LEAVING = {"logout", "admin:logout"}
_WITHOUT_SESSION = {*(f"oauth2_provider:{name}" for name in ("token", "revoke-token", "dcr-register")), "api_nothing"}
"""Where programs send forms, and no cookie counts."""
_METHODS = ("get", "post")
_REST_METHODS = ("get", "post", "put", "patch", "delete")
_TYPED = (
    "q",
    "person",
    "provider",
    "client",
    "tenant",
    "user",
    "status",
    "after",
    "before",
    "name",
    "email",
    "label",
    "prompt",
)
_VARIES = re.compile(r'name="csrfmiddlewaretoken" value="\w+"|%3D|%2F|\d{2}:\d{2}:\d{2}')


@pytest.fixture(scope="module")
def theirs(product: Served, sandbox: Served) -> Town:
    return town(product, sandbox, CANARY)


@pytest.fixture(scope="module")
def ours(product: Served, sandbox: Served) -> Town:
    return town(product, sandbox, "ours")


@dataclass(frozen=True)
class Seat:
    """Somebody of a role in our tenant, logged in a moment ago, with a key for programs."""

    browser: Client
    key: str

    def answer(self, place: Place, method: str, ids: Mapping[str, object]) -> tuple[int, str, str, int]:
        """Status, body, where it leads, and how many queries it took; without what must differ."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key and place.rest else {}
        said = {name: str(value) for name, value in ids.items() if name not in place.gaps}
        body = {"data": said} if method == "get" else {"data": json.dumps(said), "content_type": "application/json"}
        if method == "post" and not place.rest:
            body = {"data": said}
        with CaptureQueriesContext(database) as queries:
            answer = getattr(self.browser, method)(place.filled(ids), headers=headers, **body)
        text = "" if answer.streaming else answer.content.decode()  # files are of one's own tenant: see the state
        where = answer.headers.get("Location", "")
        for value in sorted({str(value) for value in ids.values()}, key=len, reverse=True):
            text, where = text.replace(value, "…"), where.replace(value, "…")
        return answer.status_code, _VARIES.sub("", text), _VARIES.sub("", where), len(queries)


def _seat(town: Town, role: str) -> Seat:
    browser = Client(SERVER_NAME="127.0.0.1", raise_request_exception=False)
    if role == "anonymous":
        return Seat(browser, "")
    person = town.world.person()
    tenants.add_member(tenant=town.world.tenant, user=person.user, role=role, by=None)
    browser.force_login(person.user)
    session = browser.session
    session["confirmed_at"] = datetime.now(UTC).timestamp()
    session.save()
    return Seat(browser, person.key)


def _ids(place: Place, known: Mapping[str, object], tenant: str) -> dict[str, object]:
    """What stands in an address, and is sent with it."""
    ids = {**known, **({"tenant": tenant} if "tenant" in place.gaps else {})}
    if "id" in place.gaps:  # REST says what it is the id of by the word before it
        ids["id"] = known[_SINGULAR[place.route.rstrip("/").split("/")[-2]]]
    return {**{gap: UNKNOWN[kind] for gap, kind in place.gaps.items()}, **ids}


def _of_nobody(ids: Mapping[str, object]) -> dict[str, object]:
    """Ids in the same shapes that nothing has."""
    kinds = {UUID: "uuid", int: "int"}
    return {name: UNKNOWN[kinds.get(type(value), "str")] for name, value in ids.items()} | {"slug": ids["slug"]}


@pytest.mark.parametrize("role", ["anonymous", *Role.values])
def test_another_tenants_ids_are_as_good_as_none_everywhere(ours: Town, theirs: Town, role: str) -> None:
    seat, before, wrong = _seat(ours, role), theirs.state(), list[str]()
    nobodys = _of_nobody(theirs.ids)
    for place in (each for each in places() if each.name not in _LEAVING):
        for method in _REST_METHODS if place.rest else _METHODS:
            for here in (True, False) if "tenant" in place.gaps else (True,):
                slug = ours.world.tenant.slug if here else theirs.world.tenant.slug
                found = seat.answer(place, method, _ids(place, theirs.ids, slug))
                if CANARY in found[1] + found[2]:
                    wrong.append(f"{method} {place.name}: tells of them")
                if found[0] >= 500:
                    wrong.append(f"{method} {place.name}: {found[0]}")
                if not here:
                    nothing = seat.answer(place, method, _ids(place, nobodys, "no-such-tenant"))
                    if found != nothing:
                        wrong.append(f"{method} {place.name}: {found[0::2]}, but {nothing[0::2]} for nothing")
    assert not wrong, "\n".join(wrong)
    assert theirs.state() == before


def test_a_character_that_no_text_has_opens_no_page_and_breaks_no_form(ours: Town) -> None:
    seat, wrong = _seat(ours, "owner"), list[str]()
    for place in (each for each in places() if each.name not in _LEAVING):
        ids = _ids(place, ours.ids, ours.world.tenant.slug)
        sent = dict.fromkeys(_TYPED, "a\0b")
        for method in ("get", "post"):
            headers = {"Authorization": f"Bearer {seat.key}"} if place.rest else {}
            found = getattr(seat.browser, method)(place.filled(ids), headers=headers, data=sent)
            taken = method == "get" and found.status_code == 200 and not place.route.startswith("api/")
            if taken or found.status_code >= 500:
                wrong.append(f"{method} {place.name}: {found.status_code}")
    assert not wrong, "\n".join(wrong)


def test_a_provider_that_has_left_the_catalogue_breaks_nothing(product: Served, sandbox: Served) -> None:
    left, wrong = town(product, sandbox, "left"), list[str]()
    Installation.objects.filter(pk=left.world.installation.pk).update(slug="left-behind")
    seat, ids = _seat(left, "owner"), {**left.ids, "slug": "left-behind"}
    for place in (each for each in places() if each.name not in _LEAVING):
        found = seat.answer(place, "get", _ids(place, ids, left.world.tenant.slug))
        if found[0] >= 500:
            wrong.append(f"{place.name}: {found[0]}")
    assert not wrong, "\n".join(wrong)


def test_no_form_is_taken_from_another_site_no_page_framed_and_nothing_changed_by_looking(ours: Town) -> None:
    seat, wrong = _seat(ours, "owner"), list[str]()
    forged = Client(SERVER_NAME="127.0.0.1", enforce_csrf_checks=True)
    forged.cookies = seat.browser.cookies
    before = ours.state()
    for place in (each for each in places() if not each.rest and each.name not in _WITHOUT_SESSION):
        address = place.filled(_ids(place, ours.ids, ours.world.tenant.slug))
        sent = forged.post(address, {name: str(value) for name, value in ours.ids.items()})
        if sent.status_code not in {403, 404, 405}:
            wrong.append(f"{place.name} takes a form without its token: {sent.status_code}")
        if place.name == "connect":  # makes a link that leads its person alone somewhere, and nothing else
            continue
        page = seat.browser.get(address)
        if page.headers.get("content-type", "").startswith("text/html"):
            framed = "frame-ancestors 'none'" not in page.headers["content-security-policy"]
            if framed or page.headers["cross-origin-opener-policy"] != "same-origin":
                wrong.append(f"{place.name} can be framed or opened by another site")
    assert not wrong, "\n".join(wrong)
    assert ours.state() == before
