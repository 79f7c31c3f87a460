"""What `make conformance` stands on, without the suite: its tools, the proxy and the verdict."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, types
from mcp.server import Server
from mcp.shared.exceptions import MCPError

from tests.conformance import fixture, report
from tests.conformance.proxy import BearerProxy
from tests.conformance.report import Check
from tests.faults.proxies import Listener
from tests.services import free_port


async def test_the_suites_tools_answer_and_ask() -> None:
    server = Server[Any]("equipped")
    fixture.equip(server)

    async def told(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"name": "Ada", "color": "blue"})

    async with Client(server, elicitation_callback=told) as client:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        assert {"test_simple_text", "test_missing_capability", "test_streaming_elicitation"} <= listed
        hello = await client.call_tool("test_input_required_result_elicitation", {})
        assert hello.content == [types.TextContent(type="text", text="Hello, Ada!")]
        twice = await client.call_tool("test_input_required_result_multi_round", {})
        assert twice.content == [types.TextContent(type="text", text="Ada likes blue.")]
        with pytest.raises(MCPError) as refused:
            await client.call_tool("test_missing_capability", {})
        assert refused.value.error.code == -32021


class Echo(Listener):
    """Answers with the head it got."""

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + head)
        writer.close()


async def sent(port: int, head: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.replace("\n", "\r\n").encode())
    answer = await reader.read()
    writer.close()
    return answer.decode().replace("\r\n", "\n").partition("\n\n")[2]


async def test_the_proxy_adds_the_bearer_to_what_has_none_and_changes_nothing_else() -> None:
    with Echo() as echo, BearerProxy(echo.port, "the-key", port=free_port()) as proxy:
        asked = "\nHost: evil.example\nOrigin: http://evil.example\nMcp-Name:  a \t \nConnection: keep-alive\n\n"
        kept = "\nHost: evil.example\nOrigin: http://evil.example\nMcp-Name:  a \t \nconnection: close\n"
        there = await sent(proxy.port, f"POST /mcp/acme HTTP/1.1{asked}")
        assert there == f"POST /mcp/acme HTTP/1.1{kept}authorization: Bearer the-key\n\n"
        assert await sent(proxy.port, f"POST /o/token/ HTTP/1.1{asked}") == f"POST /o/token/ HTTP/1.1{kept}\n"
        own = await sent(proxy.port, f"POST /mcp/acme HTTP/1.1\nAuthorization: Bearer other{asked}")
        assert "Bearer other" in own
        assert "the-key" not in own


HELD, FAILED, WARNED = Check("a", "SUCCESS"), Check("b", "FAILURE", "no"), Check("c", "WARNING", "rather not")


@pytest.mark.parametrize(
    ("found", "excused", "said"),
    [
        ({"s": [HELD]}, [], []),
        ({"s": [HELD, FAILED]}, [], ["s:b: no"]),
        ({"s": [HELD, WARNED]}, [], ["s:c: rather not"]),
        ({"s": [HELD, FAILED]}, ["s"], []),
        ({"s": [FAILED, WARNED]}, ["s:b"], ["s:c: rather not"]),
        ({"s": [HELD]}, ["s"], ["s: excused, but it does not fail"]),
        ({"s": [HELD]}, ["gone"], ["gone: excused, but it does not fail"]),
        ({"s": [HELD], "other": [FAILED]}, [], []),
        ({}, [], ["s: nothing was checked"]),
        ({"s": [Check("d", "INFO")]}, [], ["s: nothing was checked"]),
    ],
)
def test_a_run_is_good_when_only_what_is_excused_fails_and_all_of_it_does(
    found: dict[str, list[Check]], excused: list[str], said: list[str]
) -> None:
    assert report.wrong(found, ["s"], excused) == said


def test_what_the_suite_wrote_is_read_by_scenario(tmp_path: Path) -> None:
    folder = tmp_path / "server-server-stateless-2026-11-23T05-41-48-063Z"
    folder.mkdir()
    checks = [{"id": "a", "status": "SUCCESS"}, {"id": "b", "status": "FAILURE", "details": {"untestable": True}}]
    (folder / "checks.json").write_text(json.dumps(checks))
    assert report.read(tmp_path) == {"server-stateless": [HELD, Check("b", "FAILURE")]}
    assert report.read(tmp_path, untestable=False) == {"server-stateless": [HELD]}


def test_every_line_of_the_baseline_has_its_reason() -> None:
    file = Path(__file__).with_name("baseline.yml")
    assert report.baseline(file)
    assert all(" # " in line for line in file.read_text().splitlines() if line.startswith("  - "))
