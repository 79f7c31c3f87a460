"""A model that knows the plan of the question it is asked, served on this machine, counted, and killed when told to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn

from bench import tokens
from bench.questions import Posed
from tests.llm.server import JsonObject, ModelServer, Reply, reply, said, use

_SOUGHT = {
    "error_counts": "count errors over time",
    "explain_spike": "why did errors rise",
    "issue_details": "details of one issue",
    "latest_event": "stack trace of an issue",
    "list_organizations": "list organizations",
    "list_projects": "list projects",
    "list_releases": "list releases",
    "new_issues": "issues that are new",
    "release_details": "commits of a release",
    "release_health": "health of a release",
    "search_issues": "search issues",
    "top_issues": "most frequent issues",
    "who_am_i": "whose account is this",
}
"""What somebody looks for who needs such a tool and does not know its name."""
_MOST_SEARCHES = 2
_LINE = 300
_LINES = 12
_START_S = 10


def written(posed: Posed, shown: str) -> str:
    """The answer a model would write: the lines of what it was shown that hold what was asked for."""
    lines = shown.splitlines()
    held = (next((line for line in lines if each in line), "") for each in sorted(posed.expected))
    kept = [line.strip()[:_LINE] for line in dict.fromkeys(held) if line][:_LINES]
    return "\n".join(kept) or "The results do not tell."


@dataclass(slots=True)
class Heard:
    """What one question cost."""

    turns: int = 0
    searches: int = 0
    tokens: int = 0


@dataclass(slots=True)
class Scripted:
    """Plans as the question's author would, writes from what it is shown."""

    url: str = ""
    alive: bool = True
    asked: Posed | None = None
    """The question that is being asked; the harness says so before it asks."""
    heard: Heard = field(default_factory=Heard)
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    def now(self, posed: Posed) -> None:
        """This question comes next."""
        self.asked, self.heard = posed, Heard()

    def answer(self, body: JsonObject) -> Reply:
        """What is answered to one request."""
        assert self.asked is not None  # noqa: S101 - said before
        names = {tool["name"] for tool in body.get("tools", ())}
        if "plan" in names:
            answer = self._planned("\n".join(map(_said, body["messages"])))
        elif names:
            answer = reply(said("I cannot tell."))
        else:
            answer = reply(said(written(self.asked, _said(body["messages"][-1]))))
        self.heard.turns += 1
        self.heard.tokens += tokens.sent(body) + tokens.put_out(answer.blocks)
        return answer

    def _planned(self, shown: str) -> Reply:
        """The plan; a search where a tool of it was not shown."""
        assert self.asked is not None  # noqa: S101 - said before
        steps = self.asked.plan["steps"]
        unknown = dict.fromkeys(step["tool"] for step in steps if f"- {step['tool']}(" not in shown)
        if not unknown:
            return reply(use("plan", **self.asked.plan))
        if self.heard.searches == _MOST_SEARCHES:
            return reply(said("There is no tool for this."))
        self.heard.searches += 1
        return reply(use("search_tools", query=" and ".join(_SOUGHT[name] for name in unknown)))

    def kill(self) -> None:
        """From now on nobody listens."""
        self.alive = False
        if self._server is not None and self._thread is not None:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join()
            self._server = None


def _said(message: JsonObject) -> str:
    """All words of a message: ours, and what tools answered."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return "\n".join(str(block.get("text") or block.get("content") or "") for block in content)


@contextmanager
def scripted() -> Iterator[Scripted]:
    """The model, until it is killed or left."""
    listener = socket.create_server(("127.0.0.1", 0))
    model = Scripted(url=f"http://127.0.0.1:{listener.getsockname()[1]}")
    api = ModelServer()
    api.script = model.answer
    server = uvicorn.Server(uvicorn.Config(api, log_level="error", access_log=False, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    ends = time.monotonic() + _START_S
    while not server.started:
        if time.monotonic() > ends:
            raise RuntimeError("The model's server did not start.")
        time.sleep(0.01)
    model._server, model._thread = server, thread  # noqa: SLF001 - its maker
    try:
        yield model
    finally:
        model.kill()
        listener.close()
