"""The question set against a real model: what is right, how many turns and tokens, how much money. Never part of tests.

Run: `make eval`, with ANTHROPIC_API_KEY; ANTHROPIC_BASE_URL, AGENT_MODEL, AGENT_SMALL_MODEL and MODEL_PRICES mean what
they mean to the product. An answer is right when it, or the full result behind it, holds what the provider itself says;
how well it is written is not judged. One JSON object a line: each question, then the totals.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from statistics import fmean

from bench.gains import Asked, Line, Stage, all_posed, drained, staged
from bench.provider import directly
from bench.questions import Kind, Posed
from bench.servers import NotServing

_SETTINGS = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "AGENT_MODEL", "AGENT_SMALL_MODEL", "MODEL_PRICES")
_TOKENS = ("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens")


def line(posed: Posed, asked: Asked) -> Line:
    """One question's."""
    return {
        "case": "eval_question",
        "prompt": posed.prompt,
        "kind": posed.kind.value,
        "mode": asked.mode,
        "right": posed.right(asked.text, asked.full),
        "degraded": asked.degraded,
        "turns": asked.usage.get("modelTurns", 0),
        "tokens": sum(asked.usage.get(name, 0) for name in _TOKENS),
        "micros": asked.usage.get("costMicros", 0 if not asked.usage.get("modelTurns") else None),
        **({"text": asked.text} if asked.mode == "error" else {}),
    }


def total(lines: Sequence[Line]) -> Line:
    """Of all of them. Without a price for a model there is no cost."""
    costs = [each["micros"] for each in lines]
    right = {kind: [bool(each["right"]) for each in lines if each["kind"] == kind] for kind in Kind}
    return {
        "case": "eval",
        "questions": len(lines),
        "right_share": round(fmean(bool(each["right"]) for each in lines), 3),
        **{f"right_share_{kind}": round(fmean(some), 3) for kind, some in right.items() if some},
        "ways": Counter(str(each["mode"]) for each in lines),
        "degraded": sum(bool(each["degraded"]) for each in lines),
        "turns": sum(int(str(each["turns"])) for each in lines),
        "tokens": sum(int(str(each["tokens"])) for each in lines),
        "dollars": None if None in costs else round(sum(int(str(each)) for each in costs) / 1e6, 4),
    }


async def _asked(stage: Stage, most: int | None, *, again: bool) -> AsyncIterator[Line]:
    lines = []
    with directly(f"http://127.0.0.1:{stage.sandbox}", stage.bearer) as api:
        async with stage.caller("sentry") as caller:
            for repeated in (False, True) if again else (False,):
                for posed in (await all_posed(api, again=repeated))[:most]:
                    lines.append(line(posed, await caller.ask(posed.prompt)))
                    yield lines[-1]
        await api.http.aclose()
    yield total(lines)


def main() -> None:
    """Ask; 2 without a key."""
    parser = argparse.ArgumentParser(prog="python -m bench.eval", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--most", type=int, help="only so many questions, of all kinds")
    parser.add_argument("--again", action="store_true", help="ask each a second time, with other values")
    wanted = parser.parse_args()
    model = {name: os.environ[name] for name in _SETTINGS if os.environ.get(name)}
    if "ANTHROPIC_API_KEY" not in model:
        sys.stderr.write("Set ANTHROPIC_API_KEY: this asks a real model, and that costs money.\n")
        sys.exit(2)
    try:
        with ExitStack() as stack:
            for each in drained(_asked(staged(stack, model), wanted.most, again=wanted.again)):
                print(json.dumps(each), flush=True)
    except NotServing as wrong:
        sys.exit(f"The run means nothing: {wrong}")


if __name__ == "__main__":
    main()
