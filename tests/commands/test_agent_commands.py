"""`agent_rank` and `agent_route` answer each line in order, need no database and no network, and lose no line."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from metaagent.management.piped import BadMessage, answer_lines, tools_of

ROOT = Path(__file__).parents[2]
TOOLS = [
    {
        "name": "get_weather",
        "description": "Get the current weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "read_only": True,
    },
    {
        "name": "list_orders",
        "description": "List all orders.",
        "parameters": {"type": "object", "properties": {}},
        "read_only": True,
    },
    {
        "name": "close_account",
        "description": "Get rid of the account.",
        "parameters": {"type": "object", "properties": {"account": {"type": "string"}}, "required": ["account"]},
        "read_only": False,
    },
]
POOL = {"pool": "shop", "tools": TOOLS}


def lines(*messages: object) -> bytes:
    return b"".join(m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages)


def answers(command: str, monkeypatch: pytest.MonkeyPatch, *messages: object, bad: int = 0) -> list[dict[str, Any]]:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines(*messages))))
    out = io.StringIO()
    if bad:
        with pytest.raises(CommandError, match=f"^{bad} lines? could not be answered") as caught:
            call_command(command, stdout=out, stderr=io.StringIO())
        assert caught.value.returncode == 1
    else:
        call_command(command, "--json", stdout=out, stderr=io.StringIO())
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_tools_are_ranked_for_prompts_of_their_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    indexed, first, second = answers(
        "agent_rank",
        monkeypatch,
        POOL,
        {"id": "a", "prompt": "How is the weather in Oslo?", "pool": "shop"},
        {"id": 2, "prompt": "purchases", "pool": "shop"},
    )
    assert (indexed["pool"], indexed["tools"]) == ("shop", 3)
    assert (first["id"], first["ranked"][0]) == ("a", "get_weather")
    assert (second["id"], second["ranked"]) == (2, ["list_orders"])
    assert all(answer["ms"] >= 0 for answer in (indexed, first, second))


def test_a_pool_sent_again_replaces_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"id": 1, "prompt": "weather", "pool": "shop"}
    found = answers("agent_rank", monkeypatch, POOL, asked, {"pool": "shop", "tools": TOOLS[1:]}, asked)
    assert [answer.get("ranked") for answer in found] == [None, ["get_weather"], None, []]


def test_a_sure_question_is_routed_with_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = answers(
        "agent_route", monkeypatch, {"id": 1, "prompt": "What is the current weather in Oslo?", "tools": TOOLS}
    )
    assert (found["id"], found["tool"], found["args"]) == (1, "get_weather", {"city": "Oslo"})


@pytest.mark.parametrize("said", ["the city of oslo", "tomorrow", "a general way"])
def test_plain_words_are_not_taken_for_a_value(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    asked = {"id": 1, "prompt": f"What is the current weather in {said}?", "tools": TOOLS}
    (found,) = answers("agent_route", monkeypatch, asked)
    assert found["tool"] is None


@pytest.mark.parametrize("read_only", [False, None, "true", 1])
def test_a_tool_that_is_not_read_only_is_never_chosen(monkeypatch: pytest.MonkeyPatch, read_only: object) -> None:
    asked = {"id": 1, "prompt": "What is the current weather in Oslo?", "tools": [{**TOOLS[0], "read_only": read_only}]}
    (found,) = answers("agent_route", monkeypatch, asked)
    assert (found["tool"], found["why"]) == (None, "write")


def test_bad_lines_get_an_error_each_and_the_others_their_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = answers(
        "agent_rank",
        monkeypatch,
        POOL,
        b"{not json}\n",
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b"[1, 2]\n",
        b"\n",
        {"id": "no pool", "prompt": "x"},
        {"id": "other pool", "prompt": "x", "pool": "other"},
        {"id": "no prompt", "pool": "shop"},
        {"id": "tools", "pool": "shop", "tools": {}},
        {"id": "last", "prompt": "orders", "pool": "shop"},
        bad=8,
    )
    assert len(found) == 10
    assert ["error" in answer for answer in found] == [False, *([True] * 8), False]
    assert [answer.get("id") for answer in found[5:]] == ["no pool", "other pool", "no prompt", "tools", "last"]
    assert found[1]["error"] == "Line 2: not JSON. Send one JSON object a line."
    assert found[-1]["ranked"] == ["list_orders"]


@pytest.mark.parametrize(
    "described",
    [
        None,
        "get_weather",
        {},
        {"name": ""},
        {"name": 7},
        {"name": "a", "parameters": "{}"},
        {"name": "a", "parameters": {"properties": [1]}},
    ],
)
def test_a_tool_that_is_none_is_said_to_be_so(described: object) -> None:
    with pytest.raises(BadMessage, match="tool"):
        tools_of({"tools": [described]})


@pytest.mark.parametrize("command", ["agent_rank", "agent_route"])
def test_odd_schemas_are_answered(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = [
        {"name": "a", "description": None, "parameters": None, "read_only": True},
        {"name": "b", "description": ["x"], "parameters": {"properties": {"p": 7, "q": None}, "required": "p"}},
        {
            "name": "c",
            "parameters": {
                "properties": {"q": {"type": ["x", 7], "pattern": "(*", "enum": "abc", "items": 3, "description": {}}},
                "required": ["q", "gone", 3, None],
            },
            "read_only": True,
        },
        {"name": "\ud800", "parameters": {"properties": {"": {}}, "required": [""]}, "read_only": True},
    ]
    messages = [{"pool": "odd", "tools": odd}] if command == "agent_rank" else []
    found = answers(
        command, monkeypatch, *messages, {"id": 1, "prompt": "a b c \ud800 (*", "pool": "odd", "tools": odd}
    )
    assert all("error" not in answer for answer in found)


def test_each_answer_is_sent_before_the_next_line_is_read() -> None:
    sent: list[str] = []

    class Out(io.StringIO):
        def flush(self) -> None:
            sent.append(self.getvalue().splitlines()[-1])

    def asking() -> Iterator[bytes]:
        for n in range(3):
            assert len(sent) == n
            yield b'{"id": %d}\n' % n

    assert answer_lines(asking(), Out(), lambda _: {}) == 0
    assert [json.loads(line)["id"] for line in sent] == [0, 1, 2]


@pytest.mark.parametrize("command", ["agent_rank", "agent_route"])
def test_neither_settings_nor_a_database_nor_a_network_is_needed(command: str) -> None:
    guarded = (
        "import socket, sys\n"
        "def no(*_, **__): raise SystemExit('reached out')\n"
        "socket.socket.connect = no\n"
        "from metaagent.management.piped import run\n"
        "code = run(sys.argv[1])\n"
        "assert not {'django', 'sqlite3', 'psycopg'} & sys.modules.keys()\n"
        "sys.exit(code)\n"
    )
    message = {"id": 1, "prompt": "current weather in Oslo", "pool": "shop", "tools": TOOLS}
    asked = lines(POOL, {"id": 1, "prompt": "weather", "pool": "shop"}) if command == "agent_rank" else lines(message)
    for more, code in ((b"", 0), (b"{\n", 1)):
        ran = subprocess.run(
            [sys.executable, "-c", guarded, command],
            input=more + asked,
            capture_output=True,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            check=False,
        )
        assert ran.returncode == code, ran.stderr
        assert ran.stderr == (b"" if code == 0 else b"1 line could not be answered.\n")
        last = json.loads(ran.stdout.splitlines()[-1])
        assert "get_weather" in (last.get("tool"), *last.get("ranked", ()))
