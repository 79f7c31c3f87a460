"""REST as programs use it: tenants, people, keys, providers, the log and what was used."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from providers import review
from providers.manifest import Entry, Manifest
from providers.models import Installation
from tenants import asked as figures
from tenants import services as tenants
from tenants.models import ClientKey, Membership
from tests.api.place import LIBRARY, Answer, Place
from tests.vault.outages import no_keys
from vault.services import keys as vault_keys


def every(place: Place, path: str, **options: Any) -> list[dict[str, Any]]:
    """All items of a list, by following its `next`."""
    found: list[dict[str, Any]] = []
    answer = place.get(path, **options)
    while True:
        assert answer.status == 200, answer
        found += answer.json["items"]
        onward = answer.json["next"]
        if onward is None:
            assert "Link" not in answer.headers
            return found
        assert answer.headers["Link"] == f'<{onward}>; rel="next"'
        answer = place.get("/" + onward.split("/", 3)[3], **options)


def wrong(answer: Answer) -> dict[str, str]:
    """What is wrong, by its place."""
    assert answer.status == 400, answer
    return {each.get("pointer", each.get("parameter")): each["detail"] for each in answer.json["errors"]}


# --- Tenants and people


def test_a_key_finds_its_own_tenant_and_no_other(place: Place) -> None:
    found = place.get("/api/v1/tenants/", who="member").json
    assert found == {"items": [{"slug": place.tenant.slug, "name": "Place", "role": "member"}], "next": None}


def test_budgets_and_the_name_are_changed_and_the_rest_stays(place: Place) -> None:
    tag = place.get().headers["ETag"]
    body = {"name": "Renamed", "budgets": {"user": {"tokens": 1_000}}}
    changed = place.patch("", body, If_Match=tag, who="admin")
    assert changed.json["name"] == "Renamed"
    assert changed.json["budgets"]["user"]["tokens"] == 1_000
    more = place.patch("", {"budgets": {"tenant": {"calls": 9}}}, If_Match=changed.headers["ETag"]).json["budgets"]
    assert (more["user"]["tokens"], more["tenant"]["calls"]) == (1_000, 9)
    assert place.get("usage/today/").json["limit_of_each"]["tokens"] == 1_000
    assert place.events("tenant.change.done")[0].user_id == place.user("admin").pk


def test_roles_are_changed_by_who_may_and_an_owner_is_left(place: Place) -> None:
    def role(who: str, wanted: str, *, by: str = "owner") -> Answer:
        return place.patch(f"members/{place.members[who].pk}/", {"role": wanted}, who=by)

    assert role("member", "auditor").json["role"] == "auditor"
    assert role("member", "owner", by="admin").problem == "permission_denied"
    assert role("owner", "member", by="admin").problem == "permission_denied"
    assert role("owner", "member").problem == "permission_denied"
    assert role("admin", "owner").status == 200
    assert role("owner", "member", by="admin").status == 200
    assert place.get("members/", who="owner").status == 403
    assert place.delete(f"members/{place.members['admin'].pk}/", who="admin").status == 422
    assert wrong(role("auditor", "emperor", by="admin")) == {
        "/role": "This must be one of member, auditor, admin, owner."
    }


def test_who_is_removed_is_gone_with_their_keys_and_connections(place: Place) -> None:
    mine = place.connection("member", place.install())
    assert place.delete(f"members/{place.members['member'].pk}/", who="admin").status == 204
    assert place.get("keys/", who="member").status == 401
    mine.refresh_from_db()
    assert mine.status == "revoked"
    assert not Membership.objects.filter(pk=place.members["member"].pk).exists()


def test_an_invitation_s_link_is_given_once_and_leads_nowhere_when_withdrawn(place: Place) -> None:
    made = place.post("invitations/", {"email": "Ada@Example.com", "role": "auditor"}).json
    handle = made["link"].rstrip("/").rsplit("/", 1)[1]
    listed = every(place, "invitations/", who="auditor")
    assert [(each["email"], each["role"]) for each in listed] == [("ada@example.com", "auditor")]
    assert handle not in json.dumps(listed)
    assert place.post("invitations/", {"email": "ada@example.com"}).status == 422
    assert place.post("invitations/", {"email": "b@example.com", "role": "owner"}, who="admin").status == 403
    assert place.delete(f"invitations/{made['invitation']['id']}/").status == 204
    assert every(place, "invitations/") == []


def test_a_key_is_made_for_oneself_alone_and_works(place: Place) -> None:
    made = place.post("keys/", {"name": "nightly", "expires_days": 7}, who="admin").json
    assert made["email"] == place.user("admin").email
    assert place.get("", who=made["key"]).status == 200
    assert wrong(place.post("keys/", {"name": "x", "email": place.user("owner").email})) == {
        "/email": "There is no such name."
    }
    assert made["key"] not in json.dumps(every(place, "keys/"))
    assert place.delete(f"keys/{made['id']}/", who=made["key"]).status == 204
    assert place.get("", who=made["key"]).status == 401


def test_a_key_that_ends_makes_none_that_ends_later(place: Place) -> None:
    ClientKey.objects.filter(membership=place.members["owner"]).update(expires_at=datetime.now(UTC) + timedelta(days=3))
    assert place.post("keys/", {"name": "for ever"}).status == 422
    assert place.post("keys/", {"name": "longer", "expires_days": 4}).status == 422
    assert place.post("keys/", {"name": "shorter", "expires_days": 2}).status == 201


# --- Providers


def test_a_provider_is_installed_changed_and_removed(place: Place) -> None:
    needed = place.post("installations/", {"slug": "sentry"}, who="admin")
    assert (needed.status, needed.problem) == (422, "client_needed")
    assert "/oauth/callback/" in needed.json["detail"]
    assert "--" not in needed.json["detail"]
    path = "installations/sentry/"
    there = place.get(path)
    assert there.json["enabled"] is False
    said = {
        "client_id": "abc",
        "client_secret": "S3CRET-S3CRET",
        "exposure": "strict",
        "limits": {"breaker_failures": 3},
    }
    made = place.patch(path, said, who="admin", If_Match=there.headers["ETag"])
    assert made.status == 200, made
    assert made.json["installation"] | {"enabled": True, "exposure": "strict"} == made.json["installation"]
    assert made.json["installation"]["limits"] == {"breaker_failures": 3}
    assert "S3CRET" not in made.content.decode() + place.get(path).content.decode()
    assert "S3CRET" not in str([event.detail for event in place.events()])
    assert place.post("installations/", {"slug": "sentry"}).status == 422
    tag = place.get(path).headers["ETag"]
    off = place.patch(path, {"enabled": False, "limits": {"breaker_failures": None}}, If_Match=tag).json["installation"]
    assert (off["enabled"], off["limits"]) == (False, {})
    assert [each["slug"] for each in every(place, "installations/", who="auditor")] == ["sentry"]
    assert place.get(f"{path}health/", who="auditor").json["connections"]["ready"] == 0
    assert place.delete(path).status == 204
    assert place.get(path).status == 404
    assert place.events("provider.remove.done")[0].user_id == place.user("owner").pk


def test_a_document_is_installed_from_the_body_even_a_large_one(place: Place) -> None:
    large = {**LIBRARY, "info": {**LIBRARY["info"], "description": "x" * 300_000}}  # type: ignore[dict-item]
    wish = {"slug": "library", "source": "openapi", "document": json.dumps(large), "access": "key"}
    made = place.post("installations/", wish)
    assert made.status == 201, made
    assert made.json["installation"]["tools"] == 2
    assert made.json["installation"]["access"] == "key"
    tools = place.get("installations/library/manifest/").json["tools"]
    assert [(tool["name"], tool["effect"], tool["confirmed"]) for tool in tools] == [
        ("add_book", "write", False),
        ("list_books", "write", False),
    ]
    too_long = place.post("keys/", {"name": "x" * 70_000})
    assert (too_long.status, too_long.problem) == (413, "too_large")


def test_addresses_inside_are_refused_before_anybody_is_asked(place: Place) -> None:
    for url in ("http://169.254.169.254/latest/", "https://10.0.0.1/mcp", "file:///etc/passwd"):
        answer = place.post("installations/", {"slug": "inside", "source": "mcp", "url": url})
        assert answer.status == 422, answer
    assert not Installation.objects.filter(tenant=place.tenant).exists()


def test_tools_are_confirmed_and_left_out(place: Place) -> None:
    place.document()
    path = "installations/library/manifest/"
    said = {"tools": {"list_books": {"effect": "read"}, "add_book": {"offered": False, "scopes": ["books:write"]}}}
    tag = place.get(path).headers["ETag"]
    made = place.patch(f"{path}choices/", said, If_Match=tag, who="admin").json["tools"]
    assert {tool["name"]: (tool["effect"], tool["confirmed"], tool["offered"], tool["scopes"]) for tool in made} == {
        "list_books": ("read", True, True, []),
        "add_book": ("write", False, False, ["books:write"]),
    }
    none = place.patch(f"{path}choices/", {"tools": {"burn": {"effect": "read"}}}, If_Match="*")
    assert none.status == 422


@pytest.mark.parametrize(("decision", "serving"), [("accept", 1), ("refuse", 2)])
def test_what_waits_is_shown_and_decided_by_its_digest(place: Place, decision: str, serving: int) -> None:
    row = place.document()
    assert place.get("installations/library/review/").json == {"digest": None, "listed_at": None, "tools": []}
    assert row.manifest is not None
    kept = [each for each in Manifest.read(row.manifest.text).entries if each.name == "list_books"]
    listed: list[Entry] = kept
    review.pin(installation=row, manifest=Manifest.of(listed), by=None, now=datetime.now(UTC))
    waiting = place.get("installations/library/review/", who="auditor").json
    assert [(each["name"], each["kind"]) for each in waiting["tools"]] == [("add_book", "removed")]
    path = "installations/library/review/"
    assert place.post(path, {"decision": decision, "digest": "0" * 64}).status == 422
    decided = place.post(path, {"decision": decision, "digest": waiting["digest"]}, who="admin")
    assert len(decided.json["tools"]) == serving
    assert place.get(path).json["digest"] is None


# --- Connections, keys of the vault


def test_connections_are_found_by_what_is_asked_and_page_by_page(place: Place) -> None:
    row = place.install()
    for number in range(5):
        place.connection("member", row, str(number))
    other = place.connection("admin", place.document())
    assert len(every(place, "connections/?limit=2")) == 6
    assert [each["id"] for each in every(place, "connections/?provider=library")] == [str(other.pk)]
    assert len(every(place, f"connections/?limit=2&owner={place.user('member').email.upper()}")) == 5
    assert every(place, "connections/?status=revoked") == []
    assert len({each["id"] for each in every(place, "connections/?limit=1", who="member")}) == 5


def test_a_cursor_is_good_for_its_own_list_alone(place: Place) -> None:
    row = place.install()
    for number in range(3):
        place.connection("member", row, str(number))
    cursor = place.get("connections/?limit=1").json["next"].split("cursor=")[1]
    for path in (
        f"connections/?limit=1&provider=sentry&cursor={cursor}",
        f"keys/?limit=1&cursor={cursor}",
        "connections/?cursor=nonsense",
        f"connections/?cursor={cursor[:-2]}",
    ):
        assert wrong(place.get(path)) == {"cursor": "This cursor is not one of this list. Begin again without it."}
    assert place.get(f"connections/?limit=2&cursor={cursor}").status == 200


def test_what_there_is_not_is_refused_by_name(place: Place) -> None:
    assert wrong(place.get("connections/?who=me")) == {"who": "There is no such name."}
    assert wrong(place.get("connections/?limit=1&limit=2")) == {"limit": "This may be given once."}
    assert list(wrong(place.get("connections/?limit=201"))) == ["limit"]
    assert list(wrong(place.get("audit/events/?since=yesterday"))) == ["since"]
    assert wrong(place.post("keys/", {"name": 7, "nonsense": 1})) == {"/nonsense": "There is no such name."}
    assert wrong(place.post("keys/", {"name": 7})) == {"/name": "Not a valid string."}
    nested = place.patch("", {"budgets": {"user": {"tokens": "7", "x~/y": 1}}}, If_Match="*")
    assert wrong(nested) == {"/budgets/user/x~0~1y": "There is no such name."}
    assert place.post("vault/rotations/", {"force": True}).status == 400


def test_a_rotation_is_begun_and_its_progress_seen(place: Place) -> None:
    from vault import sealing

    assert place.post("vault/rotations/").status == 422
    sealing.active_key(place.tenant.pk)
    with no_keys():
        assert place.post("vault/rotations/").problem == "not_now"
    begun = place.post("vault/rotations/")
    assert (begun.status, begun.json["under_way"]) == (202, True)
    assert place.post("vault/rotations/").json["under_way"] is True
    assert sorted(each["state"] for each in every(place, "vault/keys/", who="auditor")) == ["active", "old"]
    assert place.events("vault.rotate.intent")[0].user_id == place.user("owner").pk
    assert vault_keys.usable()


# --- The log and what was used


def test_the_log_is_read_page_by_page_and_reading_it_is_recorded(place: Place) -> None:
    for number in range(5):
        tenants.rename_tenant(tenant=place.tenant, name=f"Name {number}", by=place.user("owner").pk)
        place.tenant.refresh_from_db()
    found = every(place, "audit/events/?subject=tenant&limit=2", who="auditor")
    assert [each["detail"]["name"] for each in found[:5]] == [f"Name {number}" for number in range(4, -1, -1)]
    assert found[-1]["kind"] == "tenant.create.done"
    read = place.events("audit.read.done")
    assert len(read) == 3
    assert {(event.user_id, event.detail["filters"]) for event in read} == {(place.user("auditor").pk, "subject")}
    assert read[0].client.startswith("key:")
    one = place.get(f"audit/events/{found[0]['seq']}/", who="auditor")
    assert one.json == found[0]
    assert place.events("audit.read.done")[-1].detail["seq"] == found[0]["seq"]


def test_what_was_asked_is_counted(place: Place) -> None:
    now = datetime.now(UTC)
    figures.count(
        [
            figures.Asked(place.tenant.pk, place.user("member").pk, "sentry", "tool", outcome, 40, 5, 7, 100, now)
            for outcome in ("ok", "ok", "rate_limited")
        ]
    )
    found = place.get("usage/", who="auditor").json
    assert (found["total"]["asks"], found["total"]["failed"], found["total"]["saved"]) == (3, 1, 300)
    assert found["total"]["codes"] == {"rate_limited": 1}
    assert [each["provider"] for each in found["providers"]] == ["sentry"]
    assert [each["email"] for each in found["people"]] == [place.user("member").email]
    assert (found["hourly"], len(found["series"])) == (False, 30)
    day = place.get(f"usage/?since={now:%Y-%m-%d}").json
    assert (day["hourly"], day["total"]["asks"]) == (True, 3)
    assert list(wrong(place.get("usage/?since=2026-02-01&until=2026-01-01"))) == ["since"]
    assert list(wrong(place.get("usage/?since=2020-02-01"))) == ["since"]


# --- The wire


def test_addresses_that_there_are_not_are_problems_too(place: Place) -> None:
    for path in ("members/nonsense/", "members", "nonsense/", "members/%0A/", "/api/v2/", "/api/v1/", "/api/nonsense"):
        answer = place.get(path)
        assert (answer.status, answer.problem) == (404, "not_found"), path
        assert place.get(path, who="").status == 401


def test_every_method_that_there_is_not_says_which_there_are(place: Place) -> None:
    for method in ("PUT", "OPTIONS", "TRACE", "POST"):
        answer = place.call(method, "usage/")
        assert (answer.status, answer.problem) == (405, "method_not_allowed")
        assert answer.headers["Allow"] == "GET, HEAD"
    assert place.call("HEAD", "usage/").status == 200


def test_the_pace_is_told_and_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from tenants.api.callers import PerKey

    monkeypatch.setattr(PerKey, "THROTTLE_RATES", {"key": "3/min"})
    answers = [place.get("keys/", who="member"), place.get("members/", who="member"), place.get("no/", who="member")]
    assert [answer.status for answer in answers] == [200, 403, 404]
    assert [answer.headers["RateLimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0"]
    assert answers[0].headers["RateLimit-Policy"] == '"key";q=3;w=60'
    late = place.get("keys/", who="member")
    assert (late.status, late.problem) == (429, "throttled")
    assert 0 < int(late.headers["Retry-After"]) <= 60
    assert late.headers["RateLimit"].startswith('"key";r=0;t=')
    assert place.get("keys/", who="owner").status == 200


def test_the_log_is_had_checked_and_what_came_of_it_is_seen(place: Place) -> None:
    assert place.get("audit/verification/", who="auditor").json["checked_at"] is None
    asked = place.post("audit/verification/", who="auditor")
    assert (asked.status, asked.json["problem"]) == (202, "")
