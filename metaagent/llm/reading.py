"""Makes one turn of the events of a Messages stream, believing nothing about their shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from anthropic.types import (
    InputJSONDelta,
    RawContentBlockDeltaEvent,
    RawContentBlockStartEvent,
    RawMessageDeltaEvent,
    RawMessageStartEvent,
    RawMessageStopEvent,
    RawMessageStreamEvent,
    RedactedThinkingBlock,
    SignatureDelta,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
)

from metaagent.agent.model import Ended, Spent, Thought, ToolUse, Turn
from providers.egress import decode_json
from providers.errors import Unavailable
from providers.spec import Json

MAX_NAME: Final = 200
_MAX_TOKENS: Final = 1 << 31
_ENDED: Final = {
    "end_turn": Ended.DONE,
    "stop_sequence": Ended.DONE,
    "tool_use": Ended.TOOLS,
    "max_tokens": Ended.CUT,
    "model_context_window_exceeded": Ended.CUT,
    "refusal": Ended.REFUSED,
}


class Nonsense(Exception):
    """An answer that cannot be used. Says nothing about what was in it."""


@dataclass(slots=True)
class _Words:
    said: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Use:
    id: Json
    name: Json
    given: Json
    """Arguments that came whole; the API streams them as JSON instead."""
    json: list[str] = field(default_factory=list)

    def use(self) -> ToolUse:
        """Raises: `Nonsense`."""
        args = self.given
        if text := "".join(self.json):
            try:
                args = decode_json(text.encode(errors="replace"))
            except Unavailable:
                raise Nonsense from None
        for name in (self.id, self.name):
            if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
                raise Nonsense
        if not isinstance(args, dict):
            raise Nonsense
        return ToolUse(self.id, self.name, args)


@dataclass(slots=True)
class _Thinks:
    sealed: dict[str, Json]


_Block: TypeAlias = _Words | _Use | _Thinks


class Reading:
    """One answer as far as it has come."""

    def __init__(self) -> None:
        self.whole = False
        """The server said that this was all."""
        self._blocks: dict[int, _Block] = {}
        self._stop: object = None
        self._counts: dict[str, int] = {}

    @property
    def spent(self) -> Spent:
        """What it has cost, as far as the server has said."""
        return Spent(
            input_tokens=self._counts.get("input_tokens", 0),
            output_tokens=self._counts.get("output_tokens", 0),
            cache_read_tokens=self._counts.get("cache_read_input_tokens", 0),
            cache_write_tokens=self._counts.get("cache_creation_input_tokens", 0),
        )

    @property
    def text(self) -> str:
        """All that was said so far."""
        words = (block for _, block in sorted(self._blocks.items()) if isinstance(block, _Words))
        return sound("".join(part for block in words for part in block.said))

    def take(self, event: RawMessageStreamEvent) -> bool:
        """Add an event; whether `text` has grown.

        The SDK makes an event of anything: of an unknown type one of the first class, with fields of any type. So
        every field that is used is matched, `type` too. What does not match is left out, as the API asks of clients.
        """
        match event:
            case RawMessageStartEvent(type="message_start", message=message):
                self._count(getattr(message, "usage", None))
            case RawContentBlockStartEvent(type="content_block_start", index=int(index), content_block=block):
                if opened := _opened(block):
                    self._blocks[index] = opened
                    return isinstance(opened, _Words) and bool(opened.said)
            case RawContentBlockDeltaEvent(type="content_block_delta", index=int(index), delta=delta):
                return _grown(self._blocks.get(index), delta)
            case RawMessageDeltaEvent(type="message_delta", delta=delta, usage=usage):
                self._stop = getattr(delta, "stop_reason", None)
                self._count(usage)
            case RawMessageStopEvent(type="message_stop"):
                self.whole = True
            case _:
                pass
        return False

    def turn(self, model: str, spent: Spent) -> Turn:
        """The whole answer. Raises: `Nonsense`."""
        ended = _ENDED.get(self._stop) if isinstance(self._stop, str) else None
        blocks = [block for _, block in sorted(self._blocks.items())]
        match ended:
            case None:
                raise Nonsense
            case Ended.REFUSED:
                return Turn("", (), ended, spent, model)
            case Ended.CUT:
                return Turn(self.text, (), ended, spent, model)
            case Ended.DONE | Ended.TOOLS:
                uses = tuple(block.use() for block in blocks if isinstance(block, _Use))
                if len({use.id for use in uses}) != len(uses) or (ended is Ended.TOOLS and not uses):
                    raise Nonsense
                thoughts = tuple(Thought(block.sealed) for block in blocks if isinstance(block, _Thinks))
                # Some compatible servers end a turn that uses tools as any other.
                return Turn(self.text, uses, Ended.TOOLS if uses else Ended.DONE, spent, model, thoughts)

    def _count(self, usage: object) -> None:
        """Counts are totals, later ones replace earlier; those left out stay."""
        for name in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
            many: object = getattr(usage, name, None)
            if isinstance(many, int) and 0 <= many < _MAX_TOKENS:
                self._counts[name] = many


def _opened(block: object) -> _Block | None:
    match block:
        case TextBlock(type="text"):
            text: object = block.text
            return _Words([text] if isinstance(text, str) and text else [])
        case ToolUseBlock(type="tool_use", id=use_id, name=name, input=given):
            return _Use(use_id, name, given)
        case ThinkingBlock(type="thinking") | RedactedThinkingBlock(type="redacted_thinking"):
            return _Thinks(block.to_dict(warnings=False))
        case _:
            return None


def _grown(block: _Block | None, delta: object) -> bool:
    match block, delta:
        case _Words(said), TextDelta(type="text_delta", text=str(text)):
            said.append(text)
            return bool(text)
        case _Use(json=json), InputJSONDelta(type="input_json_delta", partial_json=str(text)):
            json.append(text)
        case _Thinks(sealed), ThinkingDelta(type="thinking_delta", thinking=str(text)):
            sealed["thinking"] = f"{sealed.get('thinking') or ''}{text}"
        case _Thinks(sealed), SignatureDelta(type="signature_delta", signature=str(text)):
            sealed["signature"] = text
        case _:
            pass
    return False


def sound(text: str) -> str:
    """The text as valid Unicode: halves of a character are joined, and replaced where the other half is missing."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
