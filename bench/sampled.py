"""The product with its CPU time sampled: from SIGUSR1 to its end, then written to the file BENCH_SAMPLES names.

A sample is taken every millisecond of CPU time of the process and counts for what the loop's thread is doing.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

from metaagent.asgi import application as application  # noqa: PLC0414 - what uvicorn is told to serve

_EVERY_S = 0.001
_LINES = 150
_within: Counter[str] = Counter()
_itself: Counter[str] = Counter()


def _sample(_signal: int, frame: FrameType | None) -> None:
    stack = []
    while frame is not None:
        stack.append(frame.f_code)
        frame = frame.f_back
    names = [f"{_short(code.co_filename)}:{code.co_qualname}" for code in stack]
    _within.update(set(names))
    _itself[names[0]] += 1


def _short(file: str) -> str:
    return min((file.removeprefix(f"{folder}/") for folder in sys.path if folder), key=len)


def _begin(*_: object) -> None:
    signal.setitimer(signal.ITIMER_PROF, _EVERY_S, _EVERY_S)


def _write() -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    total = max(1, _itself.total())
    lines = [f"{total} samples", "within  itself  function"]
    lines += [
        f"{count / total:6.1%}  {_itself[name] / total:6.1%}  {name}" for name, count in _within.most_common(_LINES)
    ]
    Path(os.environ["BENCH_SAMPLES"]).write_text("\n".join(lines) + "\n", encoding="utf-8")


signal.signal(signal.SIGPROF, _sample)
signal.signal(signal.SIGUSR1, _begin)
atexit.register(_write)
