"""The names in spans: those of OpenTelemetry's semantic conventions for GenAI and MCP, and the few of our own.

They live in https://github.com/open-telemetry/semantic-conventions-genai, are in development, and are deprecated in
the Python package for having moved there: so they are written here, once, and a test compares them with the package.
Left out on purpose: `mcp.session.id` and `gen_ai.conversation.id`, which are as good as keys here, `server.address`,
`gen_ai.tool.call.arguments` and `.result`.
"""

from __future__ import annotations

from typing import Final

OPERATION_NAME: Final = "gen_ai.operation.name"
INVOKE_AGENT: Final = "invoke_agent"
CHAT: Final = "chat"
EXECUTE_TOOL: Final = "execute_tool"

AGENT_NAME: Final = "gen_ai.agent.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
"""Who runs the model; for an ask as a whole, which may do without one, it is us."""
ANTHROPIC: Final = "anthropic"
METAAGENT: Final = "metaagent"
REQUEST_MODEL: Final = "gen_ai.request.model"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
EXTENSION: Final = "extension"
"""A tool that calls another system on the agent's side."""

INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
"""All of them, those from and for the cache included."""
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"

INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
"""Only with TELEMETRY_CONTENT."""

MCP_METHOD: Final = "mcp.method.name"
TOOLS_CALL: Final = "tools/call"
ERROR_TYPE: Final = "error.type"

RUN_ID: Final = "metaagent.run.id"
"""The `telemetryId` of the answer and the `run_id` of the audit log."""
MODE: Final = "metaagent.ask.mode"
OUTCOME: Final = "metaagent.outcome"
ROLE: Final = "metaagent.model.role"
COST: Final = "metaagent.cost.micro_dollars"
EFFECT: Final = "metaagent.tool.effect"
CACHED: Final = "metaagent.tool.cached"
