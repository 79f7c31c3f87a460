"""What a client did, in an order and in words that are the same at every run; `output/` keeps one for each."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults.proxies import Passed, RoundRobin
from tests.peers.place import say

OUTPUT = Path(__file__).resolve().parent / "output"
_ID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")
_SECRET = re.compile(r"(link=)[\w-]+")
_NO_STREAM = 405
_HERE = re.compile(r"http://127\.0\.0\.1:[0-9]+")


class Transcript:
    """The requests that passed the proxy, and between them what was seen."""

    def __init__(self, name: str, version: str, proxy: RoundRobin) -> None:
        self._file = OUTPUT / f"{named(name)}.txt"
        self._proxy = proxy
        self._lines = [f"{name} ({version})", ""]
        self._passed = len(proxy.passed)
        self._beside: list[Passed] = []
        """Asked for while others were on their way, so in no order: the stream of the handshake era."""

    def note(self, line: str) -> None:
        """What was seen, after the requests that led to it."""
        here = self._passed
        self._passed = len(self._proxy.passed)
        for each in self._proxy.passed[here : self._passed]:
            if each.method == "GET" and each.path.startswith("/mcp/") and each.status in {0, _NO_STREAM}:
                self._beside.append(each)
            else:
                self._add(f"    {_line(each)}")
        for unsteady, word in ((_HERE, "<origin>"), (_SECRET, r"\1<link>"), (_ID, "<id>")):
            line = unsteady.sub(word, line)
        self._add(f"  {line}")

    def _add(self, line: str) -> None:
        say(f" {line}")
        self._lines.append(line)

    def keep(self) -> None:
        """Into `output/`: what changed there since the last run is what a client, or the product, does differently."""
        for request in sorted({_line(each) for each in self._beside}):
            self._add(f"  besides {request}")
        OUTPUT.mkdir(exist_ok=True)
        self._file.write_text("\n".join([*self._lines, ""]), encoding="utf-8")


def _line(passed: Passed) -> str:
    """The request and its answer, with the revision of the protocol the client named."""
    return " ".join(filter(None, (passed.method, _ID.sub("<id>", passed.path), passed.revision, str(passed.status))))


def named(name: str) -> str:
    """A file's name for a peer."""
    return re.sub(r"\W+", "-", name).lower()
