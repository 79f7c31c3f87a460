"""What the agent core says to a language model and hears from it; `metaagent/llm/` speaks to the real ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

from providers.spec import Json


class Role(StrEnum):
    """What a turn is for; each role has a model of its own."""

    CHOOSE = "choose"
    """Choose tools, plan: a small, fast model."""
    WRITE = "write"
    """Write the synthesis: a large one."""


# --- what is said


@dataclass(frozen=True, slots=True)
class ModelTool:
    """A tool as the model is shown it."""

    name: str
    description: str
    input_schema: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Said:
    """Words."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The model wants a tool called. Nothing about it is to be trusted: not that the tool exists, nor its arguments."""

    id: str
    """Names this use in the `ToolOutcome` that answers it."""
    name: str
    args: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What came of a `ToolUse`, for the model to read."""

    id: str
    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Thought:
    """What a model thought, sealed by its server. It goes back as it came and means nothing to anybody else."""

    block: Mapping[str, Json] = field(repr=False)


@dataclass(frozen=True, slots=True)
class FromUser:
    """A turn of ours."""

    parts: tuple[Said | ToolOutcome, ...]


@dataclass(frozen=True, slots=True)
class FromModel:
    """A turn of the model's; see `Turn.message`."""

    parts: tuple[Said | ToolUse | Thought, ...]


Message: TypeAlias = FromUser | FromModel
"""A conversation alternates between them; it begins and ends with one from the user."""


# --- what is heard


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens; each is counted in exactly one of the four."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
        )


class Ended(StrEnum):
    """Why a model stopped."""

    DONE = "done"
    TOOLS = "tools"
    """It waits for the outcomes of its `uses`."""
    CUT = "cut"
    """It reached `max_tokens`, or its context is full: `text` breaks off, and there are no `uses`."""
    REFUSED = "refused"
    """It will not answer this; what it had begun to say is not shown."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One whole answer of a model. All of it is foreign text."""

    text: str
    uses: tuple[ToolUse, ...]
    ended: Ended
    spent: Spent
    """With what earlier tries of the same turn cost."""
    model: str
    """The model that was asked, by the operator's name for it: what it costs is known by that name."""
    thoughts: tuple[Thought, ...] = ()

    @property
    def message(self) -> FromModel:
        """This turn as part of the conversation that goes on from it."""
        return FromModel((*self.thoughts, *((Said(self.text),) if self.text else ()), *self.uses))


class Why(StrEnum):
    """Why there is no answer."""

    UNREACHABLE = "unreachable"
    """No connection, or the server is broken."""
    OVERLOADED = "overloaded"
    RATE_LIMITED = "rate_limited"
    REFUSED_KEY = "refused_key"
    """The key is wrong, or may not do this, or nobody pays for it."""
    CUT = "cut"
    """The answer broke off on its way."""
    NONSENSE = "nonsense"
    """The server cannot use what it was sent (an unknown model, say), or we cannot use what it sent."""
    TOO_SLOW = "too_slow"
    """The deadline passed."""


@dataclass(eq=False)
class ModelGone(Exception):
    """No answer from the model, after every try that was worth it. Holds nothing that its server said."""

    why: Why
    retry_after_s: int | None = None
    """When its server said so."""
    spent: Spent = field(default_factory=Spent)
    """What the tries cost all the same, as far as it is known."""

    def __str__(self) -> str:
        return f"no answer from the model: {self.why}"


OnText: TypeAlias = Callable[[str], Awaitable[None]]
"""Gets the whole text so far each time it grows. When a turn is tried again, it begins anew."""


class Model(Protocol):
    """The models of this installation."""

    async def turn(
        self,
        role: Role,
        *,
        system: str,
        messages: Sequence[Message],
        max_tokens: int,
        deadline: float,
        tools: Sequence[ModelTool] = (),
        must_use: str | None = None,
        on_text: OnText | None = None,
    ) -> Turn:
        """One turn, whole or not at all.

        `system` and `tools` are the prefix that is cached: what changes from ask to ask belongs into `messages`.
        `max_tokens` bounds all that the model puts out, its thoughts included. `deadline` is a time of
        `time.monotonic`. `must_use` names the one tool to use, once; not every model can be made to: look at `uses`.
        Raises: `ModelGone`, and what `on_text` raises.
        """
