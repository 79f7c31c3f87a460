"""The model port through the real SDK, against a Messages API on this machine."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol

import anthropic
import pytest

from metaagent.agent.model import (
    Ended,
    FromModel,
    FromUser,
    Message,
    ModelGone,
    ModelTool,
    Role,
    Said,
    Spent,
    Thought,
    ToolOutcome,
    Turn,
    Why,
)
from metaagent.llm.claude import ANTHROPIC_URL, MAX_ANSWER_BYTES, Claude, way_out
from providers.egress import AsyncGuardedTransport, Egress, EgressPolicy
from tests.llm.server import (
    CUT,
    DRIP,
    END_EARLY,
    GARBAGE,
    GZIP,
    HANG,
    HUGE,
    WRONG_TYPE,
    Fault,
    ModelServer,
    error_in_stream,
    in_turn,
    lines,
    reply,
    said,
    status,
    stream,
    thought,
    use,
    use_raw,
)
from tests.services import free_port
from tests.world import Served, serve

KEY = "sk-test-0123456789"
SMALL, LARGE = "local-small", "local-large"
TEXT = "Three issues are open; the oldest has been waiting for a year."
LIST = ModelTool("list_issues", "List issues.", {"type": "object", "properties": {"org": {"type": "string"}}})
PLAN = ModelTool("plan", "Say what to call.", {"type": "object"})
HELLO: tuple[Message, ...] = (FromUser((Said("Which issues are open?"),)),)


@pytest.fixture(scope="module")
def hosted() -> Iterator[tuple[ModelServer, Served]]:
    app = ModelServer()
    with serve(app, free_port()) as served:
        yield app, served


@pytest.fixture
def url(hosted: tuple[ModelServer, Served]) -> str:
    return hosted[1].url


@pytest.fixture
def server(hosted: tuple[ModelServer, Served]) -> ModelServer:
    hosted[0].reset(lambda _: reply(said(TEXT)))
    return hosted[0]


class Place:
    """A client of the server that waits for nothing and remembers how long it would have."""

    def __init__(self, url: str, **changes: Any) -> None:
        self.pauses: list[float] = []
        self.egress = Egress(EgressPolicy())
        given = {"api_key": KEY, "models": {Role.CHOOSE: SMALL, Role.WRITE: LARGE}, "base_url": url, **changes}
        given.setdefault("transport", way_out(given["base_url"], self.egress))
        self.claude = Claude(**given, pause=self._pause)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def turn(self, messages: Sequence[Message] = HELLO, *, within: float = 10, **more: Any) -> Turn:
        asked = {"role": Role.CHOOSE, "system": "Be brief.", "max_tokens": 500, "tools": (), **more}
        return await self.claude.turn(asked.pop("role"), messages=messages, deadline=time.monotonic() + within, **asked)

    async def gone(self, **more: Any) -> ModelGone:
        """The failure of a turn that must fail."""
        with pytest.raises(ModelGone) as failure:
            await self.turn(**more)
        assert "SECRET-OF-THE-SERVER" not in f"{failure.value} {failure.value!r} {vars(failure.value)}"
        assert KEY not in f"{failure.value!r}"
        assert failure.value.__cause__ is None
        assert failure.value.__suppress_context__
        return failure.value


class Made(Protocol):
    def __call__(self, url: str, **changes: Any) -> Place: ...


@pytest.fixture
async def at() -> AsyncIterator[Made]:
    """Makes clients, and closes them."""
    async with AsyncExitStack() as stack:

        def make(url: str, **changes: Any) -> Place:
            made = Place(url, **changes)
            stack.push_async_callback(made.claude.aclose)
            return made

        yield make


@pytest.fixture
def place(at: Made, url: str, server: ModelServer) -> Place:
    return at(url)


# --- what is said and heard


async def test_a_turn_is_the_text_and_what_it_cost_at_the_model_of_its_role(place: Place, server: ModelServer) -> None:
    turn = await place.turn()
    assert (turn.text, turn.uses, turn.ended, turn.model) == (TEXT, (), Ended.DONE, SMALL)
    assert turn.spent.input_tokens > 0
    assert turn.spent.output_tokens > 1
    assert (await place.turn(role=Role.WRITE)).model == LARGE
    assert [seen.body["model"] for seen in server.seen] == [SMALL, LARGE]


async def test_text_is_told_as_it_grows_and_anew_when_the_turn_is_tried_again(
    place: Place, server: ModelServer
) -> None:
    told: list[str] = []

    async def listen(text: str) -> None:
        told.append(text)

    server.faults.append(CUT)
    await place.turn(on_text=listen)
    assert told[-1] == TEXT
    assert len(told) > 10
    first_again = told.index(TEXT[:7], 1)
    assert all(TEXT.startswith(text) for text in told)
    assert told[first_again - 1] != TEXT


async def test_what_the_listener_raises_ends_the_turn_and_is_not_taken_for_the_models_failure(
    place: Place, server: ModelServer
) -> None:
    async def left(_: str) -> None:
        raise TimeoutError("the client has gone")

    with pytest.raises(TimeoutError, match="the client has gone"):
        await place.turn(on_text=left)
    assert len(server.seen) == 1


async def test_tool_uses_come_whole_and_their_outcomes_go_back(place: Place, server: ModelServer) -> None:
    args = {"org": "acme", "query": "is:unresolved \u201ctimeout\u201d", "limit": 5}
    server.script = in_turn(reply(said("Let me look."), use("list_issues", **args), use("whoami")), reply(said(TEXT)))
    turn = await place.turn(tools=(LIST,))
    assert (turn.text, turn.ended) == ("Let me look.", Ended.TOOLS)
    assert [(asked.name, asked.args) for asked in turn.uses] == [("list_issues", args), ("whoami", {})]

    first, second = turn.uses
    outcomes = FromUser((Said("Go on."), ToolOutcome(first.id, "none"), ToolOutcome(second.id, "no", is_error=True)))
    await place.turn((*HELLO, turn.message, outcomes), tools=(LIST,))
    _, from_model, from_user = server.seen[-1].body["messages"]
    assert from_model == {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": first.id, "name": "list_issues", "input": args},
            {"type": "tool_use", "id": second.id, "name": "whoami", "input": {}},
        ],
    }
    assert from_user["content"] == [
        {"type": "tool_result", "tool_use_id": first.id, "content": "none", "is_error": False},
        {"type": "tool_result", "tool_use_id": second.id, "content": "no", "is_error": True},
        {"type": "text", "text": "Go on."},
    ]


async def test_thoughts_are_no_text_and_go_back_as_they_came(place: Place, server: ModelServer) -> None:
    server.script = in_turn(reply(thought("Hm, issues."), use("list_issues")), reply(said(TEXT)))
    turn = await place.turn(tools=(LIST,))
    assert turn.text == ""
    assert turn.thoughts == (Thought({**thought("Hm, issues.")}),)
    assert "Hm" not in repr(turn)
    await place.turn((*HELLO, turn.message, FromUser((ToolOutcome(turn.uses[0].id, ""),))))
    assert server.seen[-1].body["messages"][1]["content"][0] == thought("Hm, issues.")


@pytest.mark.parametrize(
    ("stop", "ended", "text"),
    [
        ("stop_sequence", Ended.DONE, TEXT),
        ("max_tokens", Ended.CUT, TEXT),
        ("model_context_window_exceeded", Ended.CUT, TEXT),
        ("refusal", Ended.REFUSED, ""),
    ],
)
async def test_every_way_to_end_has_its_word(
    place: Place, server: ModelServer, stop: str, ended: Ended, text: str
) -> None:
    server.script = lambda _: reply(said(TEXT), stop=stop)
    turn = await place.turn()
    assert (turn.ended, turn.text) == (ended, text)


async def test_a_turn_cut_by_max_tokens_in_a_tools_arguments_uses_no_tool(place: Place, server: ModelServer) -> None:
    cut = reply(said("Looking."), use("whoami"), use_raw("list_issues", '{"org": "ac'), stop="max_tokens")
    server.script = lambda _: cut
    turn = await place.turn(tools=(LIST,))
    assert (turn.ended, turn.text, turn.uses) == (Ended.CUT, "Looking.", ())


@pytest.mark.parametrize("stop", ["pause_turn", "something_new", "tool_use"])
async def test_an_end_that_is_not_known_or_does_not_fit_is_nonsense(
    place: Place, server: ModelServer, stop: str
) -> None:
    server.script = lambda _: reply(said(TEXT), stop=stop)
    assert (await place.gone()).why is Why.NONSENSE


async def test_unknown_events_blocks_and_deltas_are_left_out(place: Place, server: ModelServer) -> None:
    server.faults.append(
        lines(
            stream(
                {"type": "message_start", "message": {"usage": {"input_tokens": "7"}}},
                {"type": "news", "message": {"usage": {"input_tokens": 5}}},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "poem", "text": "Oh"}},
                {"type": "content_block_start", "index": 1, "content_block": said("A")},
                {"type": "content_block_delta", "index": 1, "delta": {"type": "rhyme", "text": "B"}},
                {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": 7}},
                {"type": "content_block_delta", "index": 9, "delta": {"type": "text_delta", "text": "C"}},
                {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "\ud83d"}},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
                {"type": "message_stop"},
            )
        )
    )
    turn = await place.turn()
    assert (turn.text, turn.spent) == ("A\ufffd", Spent(output_tokens=3))


async def test_half_a_character_in_a_prompt_is_replaced(place: Place, server: ModelServer) -> None:
    await place.turn((FromUser((Said("a\ud83d"), Said(""))),))
    assert server.seen[0].body["messages"][0]["content"] == [{"type": "text", "text": "a\ufffd"}]


# --- what is sent


async def test_the_fixed_prefix_is_marked_and_reads_from_the_cache_are_counted(
    place: Place, server: ModelServer
) -> None:
    first = await place.turn(tools=(LIST, PLAN))
    again = await place.turn((FromUser((Said("And now?"),)),), tools=(LIST, PLAN))
    body = server.seen[0].body
    mark = {"type": "ephemeral"}
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": mark}]
    assert [tool.get("cache_control") for tool in body["tools"]] == [None, mark]
    assert "cache_control" not in str(body["messages"])
    assert {**server.seen[1].body, "messages": 0} == {**body, "messages": 0}
    assert first.spent.cache_write_tokens == again.spent.cache_read_tokens > 0
    assert first.spent.cache_read_tokens == again.spent.cache_write_tokens == 0


async def test_only_the_apis_headers_are_sent_and_none_of_the_environments(
    at: Made, url: str, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-planted: 1\nAuthorization: Basic a\nauthorization: Basic b")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-environment")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    await at(url, api_key="").turn()
    sent = server.seen[0].headers
    assert set(sent) == {
        *("accept", "accept-encoding", "anthropic-version", "content-length"),
        *("content-type", "host", "user-agent"),
    }
    assert sent["user-agent"].startswith("metaagent/")
    assert server.seen[0].keyed


async def test_a_tool_that_must_be_used_is_forced_where_the_model_allows_it(
    at: Made, url: str, server: ModelServer
) -> None:
    server.script = lambda _: reply(use("plan"))
    models = {Role.CHOOSE: "claude-haiku-5-5", Role.WRITE: "claude-sonnet-5-5-20260928"}
    place = at(url, models=models)
    await place.turn(tools=(PLAN,), must_use="plan")
    await place.turn(role=Role.WRITE, tools=(PLAN,), must_use="plan")
    forced, asked = (seen.body for seen in server.seen)
    assert forced["tool_choice"] == {"type": "tool", "name": "plan", "disable_parallel_tool_use": True}
    assert forced["thinking"] == {"type": "disabled"}
    assert "tool_choice" not in asked
    assert asked["thinking"] == {"type": "between_tools"}
    assert asked["system"][0] == {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    assert "plan" in asked["system"][1]["text"]


async def test_a_model_that_refuses_how_it_was_asked_is_asked_plainly_from_then_on(
    place: Place, server: ModelServer
) -> None:
    server.faults.append(status(400, "invalid_request_error"))
    await place.turn(tools=(PLAN,), must_use="plan")
    await place.turn(tools=(PLAN,), must_use="plan")
    assert ["tool_choice" in seen.body for seen in server.seen] == [True, False, False]
    assert place.pauses == []


async def test_a_request_that_is_refused_however_it_is_asked_is_nonsense(place: Place, server: ModelServer) -> None:
    server.always = status(400, "invalid_request_error")
    assert (await place.gone(tools=(PLAN,), must_use="plan")).why is Why.NONSENSE
    server.always = None
    await place.turn(tools=(PLAN,), must_use="plan")
    assert ["tool_choice" in seen.body for seen in server.seen] == [True, False, True]


async def test_turns_share_connections(place: Place, server: ModelServer) -> None:
    for _ in range(3):
        await place.turn()
    assert len({seen.peer for seen in server.seen}) == 1


# --- what goes wrong


@pytest.mark.parametrize(
    ("fault", "why", "tries"),
    [
        (status(401, "authentication_error"), Why.REFUSED_KEY, 1),
        (status(403, "permission_error"), Why.REFUSED_KEY, 1),
        (status(404, "not_found_error"), Why.NONSENSE, 1),
        (status(413, "request_too_large"), Why.NONSENSE, 1),
        (status(307, location="http://127.0.0.1:9/v1/messages"), Why.NONSENSE, 1),
        (status(429, "rate_limit_error"), Why.RATE_LIMITED, 3),
        (status(529, "overloaded_error"), Why.OVERLOADED, 3),
        (status(529, "overloaded_error", x_should_retry="false"), Why.OVERLOADED, 1),
        (status(500), Why.UNREACHABLE, 3),
        (CUT, Why.CUT, 3),
        (END_EARLY, Why.CUT, 3),
        (error_in_stream("overloaded_error"), Why.OVERLOADED, 3),
        (error_in_stream("something_new"), Why.UNREACHABLE, 3),
        (WRONG_TYPE, Why.NONSENSE, 1),
        (GZIP, Why.NONSENSE, 1),
        (HUGE, Why.NONSENSE, 1),
        (GARBAGE, Why.NONSENSE, 2),
        (lines("event: x\ndata: " + "[" * 200_000 + "\n\n"), Why.NONSENSE, 2),
        (lines("event: x\ndata: \xff[1]\n\n"), Why.NONSENSE, 2),
        (lines("event: x\ndata: [1]\n\n"), Why.CUT, 3),
    ],
    ids=lambda value: "" if isinstance(value, Fault) else str(value),
)
async def test_every_failure_has_its_word_and_is_tried_again_where_that_may_help(
    place: Place, server: ModelServer, caplog: pytest.LogCaptureFixture, fault: Fault, why: Why, tries: int
) -> None:
    server.always = fault
    with caplog.at_level(logging.DEBUG):
        gone = await place.gone()
    assert (gone.why, len(server.seen), gone.retry_after_s) == (why, tries, None)
    assert len(place.pauses) == tries - 1
    assert all(0.3 < pause <= 0.5 * 2**tried for tried, pause in enumerate(place.pauses))
    (line,) = [record for record in caplog.records if record.name.startswith("metaagent")]
    assert line.levelno == logging.WARNING
    assert KEY not in caplog.text
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize(
    "fault",
    [status(429, retry_after="0.01"), status(529), status(500), CUT, END_EARLY, error_in_stream("overloaded_error")],
    ids=str,
)
@pytest.mark.parametrize("blocks", [(said(TEXT),), (said("So:"), use("list_issues", org="acme", query="a" * 40))])
async def test_a_turn_that_failed_twice_and_then_succeeds_is_whole(
    place: Place, server: ModelServer, fault: Fault, blocks: tuple[dict[str, Any], ...]
) -> None:
    server.script = lambda _: reply(*blocks)
    server.faults.extend([fault, fault])
    turn = await place.turn()
    assert turn.text == blocks[0]["text"]
    assert [asked.args for asked in turn.uses] == [block["input"] for block in blocks[1:]]
    assert len(server.seen) == 3


async def test_what_broken_off_tries_cost_is_in_the_bill(place: Place, server: ModelServer) -> None:
    whole = (await place.turn()).spent
    server.faults.extend([CUT, CUT])
    assert (await place.turn()).spent.cache_read_tokens == 3 * whole.cache_write_tokens
    server.always = CUT
    assert (await place.gone()).spent.cache_read_tokens == 3 * whole.cache_write_tokens


@pytest.mark.parametrize("arguments", ['{"org": ', "[1, 2]", '"org"', '{"n": NaN}', "[" * 1000, "{} {}"])
async def test_arguments_that_are_no_object_are_asked_for_once_more_and_never_used(
    place: Place, server: ModelServer, arguments: str
) -> None:
    server.script = in_turn(reply(use_raw("list_issues", arguments)), reply(use("list_issues", org="acme")))
    (asked,) = (await place.turn(tools=(LIST,))).uses
    assert asked.args == {"org": "acme"}

    server.script = lambda _: reply(use_raw("list_issues", arguments))
    server.seen.clear()
    assert (await place.gone(tools=(LIST,))).why is Why.NONSENSE
    assert len(server.seen) == 2


async def test_uses_that_cannot_be_told_apart_or_named_are_nonsense(place: Place, server: ModelServer) -> None:
    twice = use("list_issues")
    server.script = lambda _: reply(twice, twice)
    assert (await place.gone()).why is Why.NONSENSE
    server.script = lambda _: reply({**use("list_issues"), "name": None})
    assert (await place.gone()).why is Why.NONSENSE


async def test_retry_after_is_waited_for_only_when_the_deadline_allows_it(place: Place, server: ModelServer) -> None:
    server.faults.append(status(429, retry_after="3"))
    await place.turn(within=30)
    assert place.pauses == [3]

    server.always = status(429, retry_after="31")
    gone = await place.gone(within=30)
    assert (gone.why, gone.retry_after_s) == (Why.RATE_LIMITED, 31)
    assert place.pauses == [3]


@pytest.mark.parametrize("header", ["nan", "inf", "-1", "0", "soon", "1e9"])
async def test_a_retry_after_that_is_no_number_of_seconds_is_not_believed(
    place: Place, server: ModelServer, header: str
) -> None:
    server.faults.append(status(429, retry_after=header))
    await place.turn()
    assert len(place.pauses) == 1
    assert place.pauses[0] <= 0.5


@pytest.mark.parametrize("fault", [HANG, DRIP], ids=["hang", "drip"])
async def test_the_deadline_holds_by_the_clock_however_bytes_drip(
    place: Place, server: ModelServer, fault: Fault
) -> None:
    server.always = fault
    began = time.monotonic()
    assert (await place.gone(within=0.15)).why is Why.TOO_SLOW
    assert time.monotonic() - began < 1


async def test_a_deadline_that_has_passed_sends_nothing(place: Place, server: ModelServer) -> None:
    assert (await place.gone(within=-1)).why is Why.TOO_SLOW
    assert server.seen == []


async def test_a_listener_cannot_hold_a_turn_beyond_its_deadline(place: Place) -> None:
    async def stuck(_: str) -> None:
        await asyncio.Event().wait()

    assert (await place.gone(within=0.15, on_text=stuck)).why is Why.TOO_SLOW


async def test_cancelling_a_turn_is_no_failure_of_the_model(place: Place, server: ModelServer) -> None:
    server.always = HANG
    task = asyncio.create_task(place.turn())
    await asyncio.to_thread(server.arrived.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_server_that_is_not_there_is_unreachable(at: Made) -> None:
    place = at(f"http://127.0.0.1:{free_port()}")
    assert (await place.gone()).why is Why.UNREACHABLE
    assert len(place.pauses) == 2


# --- the way out


async def test_anthropic_is_reached_only_at_public_addresses(at: Made) -> None:
    asked: list[str] = []

    async def planted(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with Egress(EgressPolicy(), resolver=planted) as egress:
        place = at(ANTHROPIC_URL, transport=way_out(f"{ANTHROPIC_URL}/", egress))
        assert (await place.gone()).why is Why.UNREACHABLE
    assert set(asked) == {"api.anthropic.com"}


async def test_turns_come_whole_through_the_guard(at: Made, url: str, server: ModelServer) -> None:
    origin = url.removeprefix("http://")
    server.script = lambda _: reply(said(TEXT), use("list_issues", org="acme"))
    async with Egress(EgressPolicy.parse("127.0.0.1/32", origin)) as egress:
        place = at(url, transport=AsyncGuardedTransport(egress))
        turn = await place.turn()
        assert (turn.text, turn.ended) == (TEXT, Ended.TOOLS)
        server.faults.append(END_EARLY)
        assert (await place.turn()).text == TEXT
        server.always = HANG
        assert (await place.gone(within=0.15)).why is Why.TOO_SLOW


async def test_requests_go_nowhere_but_to_the_configured_origin(at: Made, url: str, server: ModelServer) -> None:
    place = at(f"{url}/proxy")
    await place.turn()
    assert server.seen[0].path == "/proxy/v1/messages"
    server.always = status(308, location=f"{url}/v1/messages")
    assert (await place.gone()).why is Why.NONSENSE
    with pytest.raises(anthropic.APIConnectionError):  # the SDK takes whole addresses, too
        await place.claude._api.get(url.replace("127.0.0.1", "localhost") + "/v1/models", cast_to=object)
    assert [seen.path for seen in server.seen] == ["/proxy/v1/messages"] * 2


@pytest.mark.parametrize(
    "wrong",
    ["localhost:11434", "ftp://example.com", "https://", "https://me:pw@example.com", "https://example.com/?k=1"],
)
def test_an_address_that_is_none_is_refused_without_repeating_it(wrong: str) -> None:
    with pytest.raises(ValueError, match="ANTHROPIC_BASE_URL") as refused:
        Place(wrong)
    assert "pw" not in str(refused.value)


def test_a_key_that_cannot_be_one_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="ANTHROPIC_API_KEY") as refused:
        Place("http://127.0.0.1:9", api_key="sk-1\r\nx-planted: 1")
    assert "sk-1" not in str(refused.value)


def test_the_key_is_in_nothing_that_is_printed() -> None:
    place = Place("http://127.0.0.1:9")
    assert KEY not in f"{place.claude!r} {place.claude} {vars(place.claude)}"


def test_the_sdk_logs_nothing_below_warning() -> None:
    assert os.environ.get("ANTHROPIC_LOG") is None
    assert logging.getLogger("anthropic").getEffectiveLevel() >= logging.WARNING
    assert MAX_ANSWER_BYTES < 10_000_000


def test_a_turn_without_text_goes_on_without_an_empty_block() -> None:
    assert Turn("", (), Ended.DONE, Spent(), SMALL).message == FromModel(())
