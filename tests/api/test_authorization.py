"""Who may do what: every operation of the document, as every role, and with ids of another tenant everywhere."""

from __future__ import annotations

import re
import statistics
import time
from dataclasses import dataclass
from typing import Any

import pytest

from tenants.models import Role
from tests.api.place import Answer, Place, operations
from vault.models import Approval

ROLES = [role.value for role in Role]
NOTHING = {
    "type": "urn:metaagent:problem:not_found",
    "title": "Not Found",
    "status": 404,
    "detail": "There is nothing at this address, or nothing for you.",
}
OPERATIONS = [pytest.param(*each, id=each[2]["operationId"]) for each in operations()]


KINDS = ("members", "invitations", "connections", "consents", "approvals", "keys")
NOWHERE = {**dict.fromkeys(KINDS, "00000000-0000-4000-8000-000000000000"), "slug": "nowhere", "seq": "999999999"}


def filled(place: Place) -> dict[str, str]:
    """What stands in the addresses: rows of this tenant, of its member."""
    row = place.document()
    mine = place.connection("member", row)
    invitation = place.post("invitations/", {"email": f"new-{place.tenant.slug}@example.com"}).json["invitation"]
    return {
        "tenant": place.tenant.slug,
        "slug": row.slug,
        "members": str(place.members["member"].pk),
        "invitations": invitation["id"],
        "connections": str(mine.pk),
        "consents": str(place.consent(mine).pk),
        "approvals": str(place.asked(Approval, mine).pk),
        "keys": place.get("keys/", who="member").json["items"][0]["id"],
        "seq": str(place.events()[0].seq),
    }


@dataclass(frozen=True)
class Neighbours:
    """Two tenants that have the same, called in many ways that change nothing."""

    place: Place
    mine: dict[str, str]
    other: Place
    theirs: dict[str, str]


@pytest.fixture(scope="module")
def neighbours(database: None) -> Neighbours:
    place, other = Place(), Place()
    return Neighbours(place, filled(place), other, filled(other))


def send(place: Place, method: str, path: str, said: dict[str, Any], ids: dict[str, str], who: str) -> Answer:
    """Call it with these in its path, an `id` being of what stands before it, and a body that could be meant."""
    kind = re.search(r"/(\w+)/\{id\}", path)
    body = said.get("requestBody", {}).get("content", {}).get("application/json", {})
    shown = next((each["value"] for each in body.get("examples", {}).values()), None)
    needed = any(each["name"] == "If-Match" and each.get("required") for each in said.get("parameters", []))
    headers = {"If_Match": '"other"'} if needed else {}
    return place.call(method, path.format(**ids, id=ids[kind[1]] if kind else ""), shown, who=who, **headers)


@pytest.mark.parametrize(("method", "path", "said"), OPERATIONS)
def test_an_operation_is_for_the_roles_it_declares(
    neighbours: Neighbours, method: str, path: str, said: dict[str, Any]
) -> None:
    place, roles = neighbours.place, said["x-roles"]
    for role in set(ROLES) - set(roles):
        answer = send(place, method, path, said, neighbours.mine, role)
        assert (answer.status, answer.problem) == (403, "permission_denied"), (role, answer)
        assert "Only a client key of an" in answer.json["detail"]
        assert answer.headers["RateLimit"].startswith('"key";r=')
    if method != "GET":
        return
    for role in roles:
        answer = send(place, method, path, said, neighbours.mine, role)
        assert answer.status == 200, (role, answer)


@pytest.mark.parametrize(("method", "path", "said"), OPERATIONS)
def test_nobody_gets_in_without_a_key_or_with_a_wrong_one(
    neighbours: Neighbours, method: str, path: str, said: dict[str, Any]
) -> None:
    for key in ("", "mak_00000000_" + "A" * 43):
        answer = send(neighbours.place, method, path, said, neighbours.mine, key)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path", "said"), OPERATIONS)
def test_what_is_another_tenant_s_is_what_there_is_not(
    neighbours: Neighbours, method: str, path: str, said: dict[str, Any]
) -> None:
    if "{tenant}" not in path:
        return
    place, theirs = neighbours.place, neighbours.theirs
    tries = [theirs, {**neighbours.mine, "tenant": theirs["tenant"]}, {**NOWHERE, "tenant": "nowhere"}]
    if "{id}" in path or "{seq}" in path:
        tries += [{**each, "tenant": place.tenant.slug} for each in (theirs, NOWHERE)]
    if "{slug}" in path:
        tries.append({**NOWHERE, "tenant": place.tenant.slug})
    before = len(neighbours.other.events())
    for each in tries:
        answer = send(place, method, path, said, each, "owner")
        assert (answer.status, answer.json) == (404, NOTHING), (each, answer)
    assert len(neighbours.other.events()) == before


@pytest.mark.parametrize("kind", ["connections", "consents", "approvals", "keys"])
def test_a_member_finds_nothing_of_another_tenant_or_person(neighbours: Neighbours, kind: str) -> None:
    place = neighbours.place
    own = [neighbours.mine[kind]]
    assert [each["id"] for each in place.get(f"{kind}/", who="member").json["items"]] == own
    for found in (neighbours.theirs[kind], place.get(f"{kind}/").json["items"][-1]["id"]):
        if found not in own:
            assert place.delete(f"{kind}/{found}/", who="member").json == NOTHING
    assert place.call("DELETE", f"/api/v1/tenants/{neighbours.other.tenant.slug}/{kind}/{own[0]}/").json == NOTHING


def test_members_find_what_is_their_own_and_end_it(place: Place) -> None:
    row = place.install()
    place.join("member", "other")
    mine, theirs = place.connection("member", row), place.connection("other", row, "2")
    kept = {
        "connections": (str(mine.pk), str(theirs.pk)),
        "consents": (str(place.consent(mine).pk), str(place.consent(theirs).pk)),
        "approvals": (str(place.asked(Approval, mine).pk), str(place.asked(Approval, theirs).pk)),
    }
    for kind, (own, other) in kept.items():
        listed = [each["id"] for each in place.get(f"{kind}/", who="member").json["items"]]
        assert listed == [own], kind
        assert {each["id"] for each in place.get(f"{kind}/", who="auditor").json["items"]} == {own, other}
        assert place.delete(f"{kind}/{other}/", who="member").json == NOTHING
        assert place.delete(f"{kind}/{other}/", who="auditor").json == NOTHING
    for kind in ("approvals", "consents", "connections"):
        assert place.delete(f"{kind}/{kept[kind][0]}/", who="member").status in {200, 204}, kind
        assert place.get(f"{kind}/", who="member").json["items"] == [] or kind == "connections"
    assert place.events("approval.give.refused")
    assert place.events("consent.withdraw.done")
    assert place.events("connection.revoke.intent")[0].user_id == place.user("member").pk


def test_an_administrator_ends_anybody_s_connections_consents_and_keys(place: Place) -> None:
    row = place.install()
    theirs = place.connection("member", row)
    consent, approval = place.consent(theirs), place.asked(Approval, theirs)
    key = place.get("keys/", who="member").json["items"][0]["id"]
    assert place.delete(f"approvals/{approval.pk}/", who="admin").json == NOTHING  # it is another person's answer
    assert place.delete(f"consents/{consent.pk}/", who="admin").status == 204
    assert place.delete(f"connections/{theirs.pk}/", who="admin").json["status"] == "revoked"
    assert place.delete(f"keys/{key}/", who="admin").status == 204
    assert place.get("keys/", who="member").status == 401


def test_nothing_can_be_allowed_with_a_key(place: Place) -> None:
    waiting = place.asked(Approval, place.connection("owner", place.install()))
    for method in ("POST", "PUT", "PATCH"):
        for path in ("approvals/", f"approvals/{waiting.pk}/", "consents/"):
            assert place.call(method, path, {"given": True}).status == 405
    waiting.refresh_from_db()
    assert waiting.given_at is None
    assert not [said for _, path, said in operations() if re.search(r"give|approve$|allow", said["operationId"])]


def test_what_there_is_not_takes_as_long_as_what_is_another_s(place: Place) -> None:
    other = Place()
    theirs = other.connection("member", other.install())

    def took(path: str) -> float:
        begun = time.perf_counter()
        place.get(path)
        return time.perf_counter() - begun

    paths = [f"connections/{theirs.pk}/", "connections/00000000-0000-4000-8000-000000000000/"]
    times: dict[str, list[float]] = {path: [] for path in paths}
    for _ in range(25):
        for path in paths:
            times[path].append(took(path))
    one, two = (statistics.median(times[path]) for path in paths)
    assert 0.5 < one / two < 2


def test_a_session_is_no_key(place: Place) -> None:
    from django.test import Client

    http = Client(SERVER_NAME="127.0.0.1")
    http.force_login(place.user("owner"), backend="django.contrib.auth.backends.ModelBackend")
    found = http.get(f"/api/v1/tenants/{place.tenant.slug}/")
    assert Answer(found.status_code, found.headers, found.content).problem == "not_authenticated"
