"""Runs that are watched, cancelled, outlive their connection, and what they leave to be read."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from mcp import types

from audit.models import AuditEvent
from metaagent.agent.runs import Runs, State
from metaagent.agent.types import Fact, Principal
from metaagent.endpoint.resources import page
from metaagent.wiring.bridge import Bridge
from metaagent.wiring.journal import Journal
from metaagent.wiring.stores import CacheShared, LocalShared
from tenants import services as tenants
from tests.endpoint.test_front import modern
from tests.endpoint.test_tool import _initialize
from tests.flows.test_consent import an_issue, connect_for_writing
from tests.world import TLS, World, aside, run

RUN = "metaagent://runs/"
SLOW_S = 1.5


def until(found: Callable[[], Any], within_s: float = 15) -> Any:
    """Ask until there is something."""
    deadline = time.monotonic() + within_s
    while not (what := found()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
    return what


def headers_of(world: World, **more: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {world.me.key}",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        **more,
    }


def asking(tool: str, *, token: str | None = None, **args: Any) -> dict[str, Any]:
    """The params of a call of one inner tool."""
    params: dict[str, Any] = {
        "name": "use_sentry",
        "arguments": {"prompt": f"run {tool}", "options": {"mode": "tool", "tool": tool, "args": args}},
    }
    return params | ({"_meta": {"progressToken": token}} if token else {})


def call_in(world: World, era: str, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """A tools/call of that era and its headers."""
    if era == "modern":
        body, headers = modern("tools/call", **params)
        body["params"]["_meta"] |= params.get("_meta", {}) | {  # type: ignore[index]
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        return body, headers
    return {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}, _initialize(world, "2025-11-25", {})


def reading(world: World, uri: str, key: str | None = None) -> dict[str, Any]:
    """The answer to a raw resources/read."""
    body, headers = modern("resources/read", uri=uri)
    answer = world.post(body, headers={**headers, "Mcp-Name": uri, "Authorization": f"Bearer {key or world.me.key}"})
    found: dict[str, Any] = answer.json()
    return found


def read(world: World, uri: str) -> dict[str, Any]:
    [contents] = reading(world, uri)["result"]["contents"]
    found: dict[str, Any] = contents
    return found


def refused(world: World, uri: str, key: str | None = None) -> tuple[int, str]:
    error = reading(world, uri, key)["error"]
    return error["code"], error["message"]


def resources(world: World, key: str | None = None) -> list[dict[str, Any]]:
    body, headers = modern("resources/list")
    answer = world.post(body, headers={**headers, "Authorization": f"Bearer {key or world.me.key}"})
    found: list[dict[str, Any]] = answer.json()["result"]["resources"]
    return found


def listed(world: World) -> dict[str, Any]:
    """The runs of this person and what they say, newest first."""
    return {r["name"]: json.loads(read(world, r["uri"])["text"]) for r in resources(world) if r["uri"].startswith(RUN)}


def leave_when(world: World, body: dict[str, Any], headers: dict[str, str], seen: Callable[[], Any]) -> None:
    """Post, and close the connection as soon as `seen`."""

    async def work() -> None:
        async with httpx2.AsyncClient(base_url=world.product.url, timeout=30, trust_env=False, verify=TLS) as http:
            path = f"/mcp/{world.tenant.slug}/sentry"
            posting = asyncio.create_task(http.post(path, json=body, headers=headers_of(world, **headers)))
            while not await aside(seen):
                assert not posting.done(), posting.result().text
                await asyncio.sleep(0.02)
            posting.cancel()
            await asyncio.wait([posting])

    run(work())


def at_the_provider(world: World, tool: str) -> Callable[[], Any]:
    """Whether a call of this tool is under way."""
    return lambda: [event for event in world.events("tool.call.intent") if event.tool == tool]


ERAS = pytest.mark.parametrize("era", ["modern", "handshake"])
WAYS = pytest.mark.parametrize("token", [None, "p1"], ids=["plain", "with progress"])


# --- progress


@ERAS
def test_progress_is_a_stream_that_first_of_all_names_the_run(world: World, era: str) -> None:
    world.connect()
    body, headers = call_in(world, era, asking("list_organizations", token="p1"))
    answer = world.post(body, headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    frames = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    *progress, last = frames
    run_id = last["result"]["structuredContent"]["telemetryId"]
    assert [frame["params"]["progressToken"] for frame in progress] == ["p1", "p1"]
    assert [frame["params"]["progress"] for frame in progress] == [0, 1]
    assert progress[0]["params"]["message"].endswith(f"{RUN}{run_id}")
    assert {frame["params"]["_meta"]["metaagent/telemetryId"] for frame in progress} == {run_id}
    assert progress[1]["params"]["message"] == "Asking Sentry: list_organizations"


@ERAS
def test_without_a_token_the_answer_is_plain_json(world: World, era: str) -> None:
    world.connect()
    body, headers = call_in(world, era, asking("list_organizations"))
    answer = world.post(body, headers=headers)
    assert answer.headers["content-type"] == "application/json"
    assert not answer.json()["result"].get("isError")


# --- cancellation


@ERAS
@WAYS
def test_a_read_stops_when_its_client_goes_away(world: World, era: str, token: str | None) -> None:
    world.connect()
    body, headers = call_in(world, era, asking("list_organizations", token=token))
    world.faults(delay_s=SLOW_S)
    try:
        leave_when(world, body, headers, at_the_provider(world, "list_organizations"))
        [outcome] = until(lambda: world.events("tool.call.failed"), SLOW_S)
    finally:
        world.faults(delay_s=0)
    assert outcome.detail["code"] == "cancelled"
    assert outcome.detail.get("ms", 0) < SLOW_S * 1_000
    said = until(lambda: (found := listed(world).get(outcome.run_id)) and found["state"] == "cancelled" and found)
    assert "Ask again" in said["result"]["text"]


@ERAS
@WAYS
def test_a_write_that_was_begun_is_carried_out_once_and_kept(world: World, era: str, token: str | None) -> None:
    connect_for_writing(world)
    issue = an_issue(world)
    body, headers = call_in(world, era, asking("comment_on_issue", token=token, org="acme", issue=issue, text="Hi."))
    before = world.stats()["writes"]
    world.faults(delay_s=SLOW_S / 3)
    try:
        leave_when(world, body, headers, at_the_provider(world, "comment_on_issue"))
        [outcome] = until(lambda: [e for e in world.events("tool.call.done") if e.tool == "comment_on_issue"])
    finally:
        world.faults(delay_s=0)
    assert world.stats()["writes"] == before + 1
    [intent] = [e for e in world.events("tool.call.intent") if e.tool == "comment_on_issue"]
    assert outcome.intent_id == intent.id
    kept = until(lambda: (found := listed(world).get(intent.run_id)) and found["state"] == "answered" and found)
    assert kept["result"]["telemetryId"] == intent.run_id
    assert json.loads(read(world, kept["full"])["text"])["tool"] == "comment_on_issue"


def test_a_write_that_is_too_slow_is_never_called_undone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from metaagent.asgi import runtime

    connect_for_writing(world)
    issue = an_issue(world)
    body, headers = call_in(world, "modern", asking("comment_on_issue", org="acme", issue=issue, text="Hi."))
    budget = replace(runtime.agent._limits.budget, ms=500)
    monkeypatch.setattr(runtime.agent, "_limits", replace(runtime.agent._limits, budget=budget))
    world.faults(delay_s=SLOW_S)
    try:
        failed = world.post(body, headers=headers).json()["result"]["structuredContent"]
        uri = RUN + failed["telemetryId"]
        assert (
            failed["error"]["message"] == f"comment_on_issue takes longer than 0.5 s. Read {uri} before trying again."
        )
        [outcome] = until(lambda: world.events("tool.call.failed"))
        assert outcome.detail["code"] == "deadline"
        until(lambda: "what came of it is not known" in read(world, uri)["text"])
    finally:
        world.faults(delay_s=0)


def cancelling(world: World, token: str | None, *, own: bool) -> str:
    """The answer to a slow call that was cancelled meanwhile, in its own session or in another of the same client."""
    world.connect()
    body, headers = call_in(world, "handshake", asking("list_organizations", token=token))
    session = headers if own else _initialize(world, "2025-11-25", {})
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}

    async def work() -> str:
        async with httpx2.AsyncClient(base_url=world.product.url, timeout=30, trust_env=False, verify=TLS) as http:
            path = f"/mcp/{world.tenant.slug}/sentry"
            calling = asyncio.create_task(http.post(path, json=body, headers=headers_of(world, **headers)))
            while not await aside(at_the_provider(world, "list_organizations")):  # noqa: ASYNC110 - a server
                await asyncio.sleep(0.02)
            told = await http.post(path, json=cancelled, headers=headers_of(world, **session))
            assert told.status_code == 202
            return (await calling).text

    world.faults(delay_s=SLOW_S if own else SLOW_S / 2)
    try:
        return run(work())
    finally:
        world.faults(delay_s=0)


@WAYS
def test_a_handshake_client_cancels_its_own_call_by_a_notification(world: World, token: str | None) -> None:
    assert '"code":-32800' in cancelling(world, token, own=True)
    [outcome] = world.events("tool.call.failed")
    assert outcome.detail["code"] == "cancelled"
    assert outcome.detail.get("ms", 0) < SLOW_S * 1_000


def test_a_notification_of_another_session_cancels_nothing(world: World) -> None:
    assert '"structuredContent"' in cancelling(world, None, own=False)
    assert world.events("tool.call.failed") == []


async def test_an_intent_whose_caller_was_cancelled_has_an_outcome(world: World) -> None:
    journal = Journal("secret")
    who = Principal(world.tenant.pk, world.tenant.slug, world.me.user.pk, "key:x")
    intending = asyncio.create_task(journal.intent(Fact("tool.intent", who, "run_x", "sentry", tool="t", arguments={})))
    await asyncio.sleep(0)
    intending.cancel()
    await asyncio.wait([intending])
    await journal.aclose()
    rows = await aside(lambda: list(AuditEvent.objects.filter(run_id="run_x").order_by("seq")))
    assert [row.kind for row in rows] == ["tool.call.intent", "tool.call.failed"]
    assert rows[1].intent_id == rows[0].id


# --- what is kept


def test_a_run_is_read_while_it_is_running_and_when_it_has_ended(world: World) -> None:
    world.connect()

    async def work() -> tuple[dict[str, Any], dict[str, Any], str]:
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def listen(progress: float, total: float | None, message: str | None) -> None:
            if not told.done():
                told.set_result((message or "").rpartition(" ")[2])

        async with world.client() as client:
            asked = {"prompt": "run", "options": {"mode": "tool", "tool": "list_organizations"}}
            calling = asyncio.create_task(client.call_tool("use_sentry", asked, progress_callback=listen))
            uri = await told
            async with world.client() as another:
                running = json.loads((await another.read_resource(uri)).contents[0].text)  # type: ignore[union-attr]
            answer = await calling
            ended = json.loads((await client.read_resource(uri)).contents[0].text)  # type: ignore[union-attr]
            assert ended["result"] == answer.structured_content
            return running, ended, uri

    world.faults(delay_s=0.5)
    try:
        running, ended, uri = run(work())
    finally:
        world.faults(delay_s=0)
    assert running["state"] == "running"
    assert ended["state"] == "answered"
    assert uri == RUN + ended["telemetryId"]


def test_a_run_that_failed_says_why(world: World) -> None:
    failed = world.ask("who am I?").structured_content
    said = json.loads(read(world, RUN + failed["telemetryId"])["text"])
    assert said["state"] == "failed"
    assert said["result"]["error"]["code"] == "needs_auth"


def test_what_a_run_left_is_there_for_its_principal_only(world: World) -> None:
    world.connect()
    answer = world.call_tool("list_organizations")
    [link] = [block for block in answer.content if isinstance(block, types.ResourceLink)]
    mine = world.me.user.memberships.get()
    _, other_client = tenants.create_client_key(membership=mine, name="other", now=datetime.now(UTC), by=None)
    uris = [RUN + answer.structured_content["telemetryId"], link.uri]
    said = {refused(world, uri, key) for uri in uris for key in (world.person().key, other_client)}
    unknown = [RUN + "run_" + "0" * 24, "metaagent://results/" + "x" * 32, "metaagent://other/x", f"{link.uri}/x"]
    said |= {refused(world, uri) for uri in unknown}
    assert said == {(types.INVALID_PARAMS, "There is no such result or run, or no longer. Ask again for a new one.")}
    assert listed(world)
    assert [resources(world, key) for key in (world.person().key, other_client)] == [[], []]


def test_recent_runs_are_listed_newest_first_and_bounded(world: World) -> None:
    world.connect()
    body, headers = call_in(world, "modern", asking("list_organizations"))

    def asked() -> str:
        return str(world.post(body, headers=headers).json()["result"]["structuredContent"]["telemetryId"])

    ids = [asked() for _ in range(3)]
    assert [*listed(world)][:3] == ids[::-1]
    for _ in range(20):
        asked()
    after = [r["name"] for r in resources(world) if r["uri"].startswith(RUN)]
    assert len(after) == 20
    assert not {*after} & {*ids}


async def test_what_is_too_long_ago_is_neither_read_nor_listed() -> None:
    who, shared = Principal(uuid4(), "acme", uuid4(), "key:x"), LocalShared(1_000_000)
    for ttl_s, kept in ((60, 1), (0, 0)):
        runs = Runs(shared, ttl_s, deadline_s=35)
        await runs.keep(who, f"run_{ttl_s}", "sentry", State.ANSWERED, {"text": "x"})
        assert bool(await runs.read(who, f"run_{ttl_s}")) == bool(kept)
        assert len(await runs.recent(who)) == kept


async def test_lists_are_kept_in_order_where_processes_share_them(world: World) -> None:
    bridge = Bridge()
    shared, list_name = CacheShared(bridge), f"runs:{world.tenant.slug}"
    try:
        for number in range(7):
            note = str(number).encode()
            await shared.keep(f"{list_name}-{number}", b"x", note=note, notes=list_name, most=5, ttl_s=60)
        assert await shared.noted(list_name, 5) == [b"6", b"5", b"4", b"3", b"2"]
    finally:
        bridge.close()


# --- pages


def test_a_long_result_is_read_in_pages_byte_by_byte(world: World) -> None:
    from metaagent.asgi import runtime

    world.connect()
    answer = world.call_tool("list_organizations")
    [link] = [block for block in answer.content if isinstance(block, types.ResourceLink)]
    whole = read(world, link.uri)
    assert whole["mimeType"] == "application/json"
    assert whole["_meta"] == {"metaagent/offset": 0, "metaagent/totalBytes": link.size}

    client = f"key:{world.me.user.memberships.get().client_keys.get().pk}"
    who = Principal(world.tenant.pk, world.tenant.slug, world.me.user.pk, client)
    document = json.dumps(["é€😀" * 9 + "x" * n for n in range(600)], ensure_ascii=False).encode()[:300_000]
    document = document.decode(errors="ignore").encode()
    from metaagent.agent.work import result_key

    run(runtime.agent._ports.shared.store(result_key(who, "long"), document, ttl_s=60))
    uri: str | None = "metaagent://results/long"
    found, pages = b"", 0
    while uri:
        contents = read(world, uri)
        meta, piece = contents["_meta"], contents["text"].encode()
        assert meta["metaagent/offset"] == len(found)
        assert meta["metaagent/totalBytes"] == len(document)
        assert len(piece) <= 65_536
        found += piece
        uri, pages = meta.get("metaagent/next"), pages + 1
    assert found == document
    assert pages >= 4
    inside = document.index("é".encode()) + 1
    for wrong in (f"offset={inside}", f"offset={len(document)}", "offset=-1", "offset=x", "offset=", "page=2", ""):
        code, message = refused(world, f"metaagent://results/long?{wrong}")
        assert code == types.INVALID_PARAMS
        assert message.startswith("offset must be")


@pytest.mark.parametrize("most", [4, 5, 6, 7, 64])
def test_pages_join_to_the_document_and_never_split_a_character(most: int) -> None:
    document = "aé€😀".encode() * 30
    joined, offset = "", 0
    while True:
        found = page(document, offset, most)
        assert found is not None
        assert found.text
        assert len(found.text.encode()) <= most
        joined += found.text
        if found.next is None:
            break
        offset = found.next
    assert joined.encode() == document


# --- templates and completion


def test_ids_complete_to_one_s_own_recent_ones(world: World) -> None:
    world.connect()
    run_id = world.call_tool("list_organizations").structured_content["telemetryId"]

    async def work(key: str) -> list[list[str]]:
        async with world.client(key=key) as client:
            found: list[list[str]] = []
            for template in (await client.list_resource_templates()).resource_templates:
                ref = types.ResourceTemplateReference(uri=template.uri_template)
                arguments = [{"name": "id", "value": start} for start in ("", run_id[:9], "nothing")]
                found += [(await client.complete(ref, each)).completion.values for each in arguments]
            return found

    of_runs, of_this, none, of_results, *_ = run(work(world.me.key))
    assert of_runs[0] == run_id
    assert run_id in of_this
    assert none == []
    assert len(of_results) == 1
    assert not any(run(work(world.person().key)))


def test_what_has_no_template_is_not_completed(world: World) -> None:
    for ref in ({"type": "ref/prompt", "name": "x"}, {"type": "ref/resource", "uri": "file://{id}"}):
        body, headers = modern("completion/complete", ref=ref, argument={"name": "id", "value": ""})
        assert world.post(body, headers=headers).json()["error"]["code"] == types.INVALID_PARAMS
