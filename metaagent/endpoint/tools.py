"""The one tool a provider becomes, and its arguments as an Ask. Every word here costs every client tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from mcp import types
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from metaagent.agent.failures import AskInvalid
from metaagent.agent.types import PROMPT_CHARS, Ask, Export, Mode

PREFIX = "use_"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")

INPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "prompt": {"type": "string"},
        "accountId": {"type": "string"},
        "options": {
            "type": "object",
            "description": "mode auto|tool|agent; tool, args; maxTokens; conversation; detail summary|full; dryRun",
        },
    },
    "required": ["prompt"],
}
OUTPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "citations": {"type": "array", "items": {"type": "object"}},
        "telemetryId": {"type": "string"},
        "error": {"type": "object", "description": "code, message, connect_url"},
    },
    "required": ["text"],
}
"""Errors satisfy it too: some clients check structured content even then."""


def tool(export: Export) -> types.Tool:
    """The tool as clients see it."""
    about = f" about {export.about}" if export.about else ""
    return types.Tool(
        name=export.tool,
        description=f"Ask {export.title}{about} in plain words.",
        input_schema=INPUT_SCHEMA,
        output_schema=OUTPUT_SCHEMA,
    )


def headers_schema(_name: str) -> None:
    """The SDK's hook for `Mcp-Param-*` headers: our schema ties no argument to one, so there is nothing to check.

    Without the hook every call runs `tools/list` inside to find that out.
    """


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    mode: Literal["auto", "tool", "agent"] = "auto"
    tool: Annotated[str, StringConstraints(max_length=80)] | None = None
    args: dict[str, Any] = Field(default_factory=dict)
    maxTokens: Annotated[int, Field(ge=100, le=8_000)] | None = None  # noqa: N815 - the wire's name
    conversation: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    detail: Literal["summary", "full"] = "summary"
    dryRun: bool = False  # noqa: N815 - the wire's name


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: Annotated[str, StringConstraints(max_length=PROMPT_CHARS)]
    accountId: Annotated[str, StringConstraints(max_length=300)] | None = None  # noqa: N815 - the wire's name
    options: _Options = Field(default_factory=_Options)


@dataclass(frozen=True, slots=True)
class AskDefaults:
    """What a client may leave out."""

    max_tokens: int = 800


def ask_from(arguments: Mapping[str, Any] | None, defaults: AskDefaults) -> Ask:
    """Validate a call's arguments (the SDK's low-level server does not). Raises: AskInvalid, naming the argument."""
    try:
        given = _Arguments.model_validate(arguments or {})
    except ValidationError as wrong:
        raise AskInvalid(_sentence(wrong)) from None
    prompt = given.prompt.strip()
    if not prompt:
        raise AskInvalid("prompt is empty. Say in plain words what you want to know.")
    if _CONTROL.search(prompt):
        raise AskInvalid("prompt holds control characters. Send plain text.")
    options = given.options
    if (options.mode == "tool") != (options.tool is not None):
        raise AskInvalid('options.mode "tool" and options.tool go together: give both or neither.')
    return Ask(
        prompt=prompt,
        account_id=given.accountId or None,
        mode=Mode(options.mode),
        tool=options.tool,
        args=options.args,
        max_tokens=options.maxTokens or defaults.max_tokens,
        conversation=options.conversation,
        detail=options.detail,
        dry_run=options.dryRun,
    )


def _sentence(wrong: ValidationError) -> str:
    """The first thing wrong, in a sentence; never the value itself."""
    first = wrong.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:100]
    if first["type"] == "missing":
        return f"{where} is missing. Say in plain words what you want to know."
    if first["type"] == "extra_forbidden":
        known = _Options if where.startswith("options.") else _Arguments
        return f"{where} is not known here. Known: {', '.join(known.model_fields)}."
    if first["type"] == "string_too_long" and where == "prompt":
        return f"prompt is longer than {PROMPT_CHARS} characters. Shorten it."
    return f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}."
