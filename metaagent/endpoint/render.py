"""Answers and failures as MCP results; a failure leaves in the form this client declared it understands."""

from __future__ import annotations

import json
import secrets
from typing import Any

from mcp import types
from mcp.shared.exceptions import MCPError

from metaagent.agent.failures import Failure, Invitation
from metaagent.agent.types import Answer, Citation

URL_ELICITATION_REQUIRED = -32042
"""2025-11-25 only; the revision after retired the number."""
OPEN = "open"
"""The key of our one input request."""


def answer_result(answer: Answer) -> types.CallToolResult:
    """Text, the full result as a link, and the same facts as structured content."""
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=answer.text)]
    if answer.stored:
        content.append(
            types.ResourceLink(
                type="resource_link",
                uri=answer.stored.uri,
                name="full result",
                mime_type="application/json",
                size=answer.stored.size,
            )
        )
    body: dict[str, Any] = {
        "text": answer.text,
        "citations": [_citation(c) for c in answer.citations],
        "telemetryId": answer.telemetry_id,
        "mode": answer.mode,
        "usage": dict(answer.usage),
    }
    if answer.account_id:
        body["accountId"] = answer.account_id
    if answer.conversation:
        body["conversation"] = answer.conversation
    if answer.degraded:
        body["degraded"] = True
    return types.CallToolResult(content=content, structured_content=body)


def failure_result(failure: Failure) -> types.CallToolResult:
    """The form every client understands: an error result with the facts in text and structured content."""
    body: dict[str, Any] = {"text": failure.message, "error": failure.payload()}
    if failure.telemetry_id:  # none when the arguments were refused before there was a run
        body["telemetryId"] = failure.telemetry_id
    text = types.TextContent(type="text", text=failure.message)
    return types.CallToolResult(content=[text], structured_content=body, is_error=True)


def invitation_result(invitation: Invitation, state: dict[str, Any]) -> types.InputRequiredResult:
    """2026-07-28 with `elicitation.url`: the client opens the URL and repeats the call with `state`."""
    params = types.ElicitRequestURLParams(message=_invite(invitation), url=invitation.url)
    return types.InputRequiredResult(
        input_requests={OPEN: types.ElicitRequest(params=params)},
        request_state=json.dumps(state),
        _meta={"metaagent/error": invitation.payload()},
    )


def invitation_error(invitation: Invitation) -> MCPError:
    """2025-11-25 with `elicitation.url`: a JSON-RPC error that carries the URL."""
    params = types.ElicitRequestURLParams(
        message=_invite(invitation), url=invitation.url, elicitation_id=secrets.token_urlsafe(16)
    )
    return MCPError(
        code=URL_ELICITATION_REQUIRED,
        message=invitation.message,
        data={
            "elicitations": [params.model_dump(by_alias=True, exclude_none=True)],
            "error": invitation.payload(),
            "telemetryId": invitation.telemetry_id,
        },
    )


def _invite(invitation: Invitation) -> str:
    """For a dialog that shows the URL itself."""
    return f"{invitation.lead} Open this page to continue."


def _citation(citation: Citation) -> dict[str, str]:
    stated = {"title": citation.title, "url": citation.url, "tool": citation.tool, "ref": citation.ref}
    return {name: value for name, value in stated.items() if value is not None}
