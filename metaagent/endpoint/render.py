"""Answers and failures as MCP results; a failure leaves in the form this client declared it understands."""

from __future__ import annotations

import json
import secrets
from typing import Any, TypeAlias

from mcp import types
from mcp.shared.exceptions import MCPError

from metaagent.agent.failures import Failure, Invitation
from metaagent.agent.types import Answer

URL_ELICITATION_REQUIRED = -32042
"""2025-11-25 only; the revision after retired the number."""
OPEN = "open"
"""The key of our one input request."""


Body: TypeAlias = dict[str, Any]
"""A tool's result as it is on the wire, in the order of the protocol's schema."""


def answer(answer: Answer) -> Body:
    """Text, the full result as a link, and the same facts as structured content."""
    content: list[Body] = [{"text": answer.text, "type": "text"}]
    if answer.stored:
        content.append(
            {
                "mimeType": "application/json",
                "name": "full result",
                "size": answer.stored.size,
                "type": "resource_link",
                "uri": answer.stored.uri,
            }
        )
    return {"content": content, "isError": False, "structuredContent": answer.payload()}


def failure(failure: Failure) -> Body:
    """The form every client understands: an error result with the facts in text and structured content."""
    text = {"text": failure.message, "type": "text"}
    return {"content": [text], "isError": True, "structuredContent": failure.outcome()}


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
    return f"{invitation.lead} Open this page to continue{invitation.otherwise}."
