"""What a question costs the classical loop: a model that is sent all tools, and all that was said, on every turn.

It is worked out, not run, and in the loop's favour:

- It makes exactly the calls of the question's plan and never a wrong one. Calls that do not need one another are made
  in one turn, and so are the up to five calls of one step.
- It knows the organization: no call is spent on finding it, and no word of its prompt.
- Its system prompt is one sentence. Names, descriptions and schemas of the tools are those of the provider, in full.
- A result is what the tool says in words, not its data; the last turn writes the very answer the product's model does.
- A turn's tokens are all that is sent and all that is put out, in both; that servers charge less for a prefix they have
  in their cache is counted for neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from bench import tokens
from bench.model import written
from bench.questions import Posed
from providers.spec import Json, ToolSpec

_SYSTEM = "You answer questions about one service with the tools given."


def tools_of(specs: Sequence[ToolSpec]) -> list[Json]:
    """Tools as the API is sent them."""
    return [{"name": each.name, "description": each.summary, "input_schema": each.schema} for each in specs]


def cost(posed: Posed, tools: Sequence[Json]) -> int:
    """Tokens, over all turns."""
    messages: list[Json] = [{"role": "user", "content": posed.prompt}]
    total = 0
    for number, (_, together) in enumerate(groupby(sorted(posed.calls, key=_turn), key=_turn)):
        calls = list(together)
        ids = [f"toolu_{number}_{place}" for place in range(len(calls))]
        uses = [
            {"type": "tool_use", "id": each, "name": call.tool, "input": dict(call.args)}
            for each, call in zip(ids, calls, strict=True)
        ]
        total += tokens.sent({"system": _SYSTEM, "tools": tools, "messages": messages}) + tokens.put_out(uses)
        outcomes = [
            {"type": "tool_result", "tool_use_id": each, "content": call.result.text}
            for each, call in zip(ids, calls, strict=True)
        ]
        messages += [{"role": "assistant", "content": uses}, {"role": "user", "content": outcomes}]
    answer = written(posed, "\n".join(call.result.text for call in posed.calls))
    total += tokens.sent({"system": _SYSTEM, "tools": tools, "messages": messages})
    return total + tokens.put_out([{"type": "text", "text": answer}])


def _turn(call: object) -> int:
    turn: int = call.turn  # type: ignore[attr-defined]
    return turn
