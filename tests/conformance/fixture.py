"""The tools, resources and prompts the official suite asks for by name, to be served by the product's own server."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from mcp import types
from mcp.server import Server, ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPError

Context: TypeAlias = ServerRequestContext[Any, Any]
Called: TypeAlias = types.CallToolResult | types.InputRequiredResult
Prompted: TypeAlias = types.GetPromptResult | types.InputRequiredResult
Schema: TypeAlias = dict[str, Any]
Tool: TypeAlias = Callable[[Context, types.CallToolRequestParams], Awaitable[Called]]

# One pixel; a sound of no length.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="
_STEP_S = 0.05


def equip(server: Server[Any]) -> None:
    """Put the suite's handlers in place of the product's; what surrounds them on the server stays."""
    changes = InMemorySubscriptionBus()
    tools = _tools(changes)

    async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> Called:
        if params.name not in tools:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {params.name}")
        return await tools[params.name](ctx, params)

    async def list_tools(_ctx: Context, _params: types.PaginatedRequestParams) -> types.ListToolsResult:
        listed = [types.Tool(name=n, description=f"The suite's {n}", input_schema=_schema(n)) for n in tools]
        return types.ListToolsResult(tools=listed, ttl_ms=0, cache_scope="private")

    server.get_tool_input_schema = _schema
    server.add_request_handler("tools/list", types.PaginatedRequestParams, list_tools)
    server.add_request_handler("tools/call", types.CallToolRequestParams, call_tool)
    server.add_request_handler("resources/list", types.PaginatedRequestParams, _list_resources)
    server.add_request_handler("resources/templates/list", types.PaginatedRequestParams, _list_templates)
    server.add_request_handler("resources/read", types.ReadResourceRequestParams, _read_resource)
    server.add_request_handler("resources/subscribe", types.SubscribeRequestParams, _accept)
    server.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, _accept)
    server.add_request_handler("prompts/list", types.PaginatedRequestParams, _list_prompts)
    server.add_request_handler("prompts/get", types.GetPromptRequestParams, _get_prompt)
    server.add_request_handler("completion/complete", types.CompleteRequestParams, _complete)
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, _accept)
    server.add_request_handler("subscriptions/listen", types.SubscriptionsListenRequestParams, ListenHandler(changes))


async def _accept(_ctx: Context, _params: types.RequestParams) -> types.EmptyResult:
    return types.EmptyResult()


# --- tools


def _tools(changes: InMemorySubscriptionBus) -> Mapping[str, Tool]:
    async def tools_changed(_ctx: Context, _params: types.CallToolRequestParams) -> Called:
        await changes.publish(ToolsListChanged())
        return _said("The tools changed.")

    async def prompts_changed(_ctx: Context, _params: types.CallToolRequestParams) -> Called:
        await changes.publish(PromptsListChanged())
        return _said("The prompts changed.")

    return {
        "test_simple_text": _fixed(_text("This is a simple text response for testing.")),
        "test_image_content": _fixed(_image()),
        "test_audio_content": _fixed(types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")),
        "test_embedded_resource": _fixed(
            _embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
        ),
        "test_multiple_content_types": _fixed(
            _text("Multiple content types test:"),
            _image(),
            _embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
        ),
        "test_error_handling": _fixed(_text("This tool intentionally returns an error for testing"), is_error=True),
        "json_schema_2020_12_tool": _fixed(_text("Its schema is what counts.")),
        "test_headers": _fixed(_text("Its headers are what counts.")),
        "test_tool_with_progress": _with_progress,
        "test_tool_with_logging": _with_logging,
        "test_logging_tool": _with_logging,
        "test_sampling": _samples,
        "test_elicitation": _elicits,
        "test_elicitation_sep1034_defaults": _elicits_defaults,
        "test_elicitation_sep1330_enums": _elicits_choices,
        "test_missing_capability": _needs_sampling,
        "test_streaming_elicitation": _asks_for_name,
        "test_input_required_result_elicitation": _asks_for_name,
        "test_input_required_result_sampling": _asks_a_model,
        "test_input_required_result_list_roots": _asks_for_roots,
        "test_input_required_result_request_state": _asks_to_confirm,
        "test_input_required_result_tampered_state": _asks_to_confirm,
        "test_input_required_result_multiple_inputs": _asks_for_everything,
        "test_input_required_result_multi_round": _asks_twice,
        "test_input_required_result_capabilities": _asks_what_was_declared,
        "test_trigger_tool_change": tools_changed,
        "test_trigger_prompt_change": prompts_changed,
    }


def _schema(name: str) -> Schema:
    return _SCHEMAS.get(name, {"type": "object", "properties": {}})


def _fixed(*content: types.ContentBlock, is_error: bool = False) -> Tool:
    async def answer(_ctx: Context, _params: types.CallToolRequestParams) -> Called:
        return types.CallToolResult(content=list(content), is_error=is_error)

    return answer


async def _with_progress(ctx: Context, _params: types.CallToolRequestParams) -> Called:
    for done in (0, 50, 100):
        await ctx.session.report_progress(done, 100, f"Completed {done} of 100")
        await asyncio.sleep(_STEP_S)
    return _said("Progress was reported.")


async def _with_logging(ctx: Context, _params: types.CallToolRequestParams) -> Called:
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.session.send_log_message("info", line, related_request_id=ctx.request_id)
        await asyncio.sleep(_STEP_S)
    return _said("Three lines were logged.")


async def _samples(ctx: Context, params: types.CallToolRequestParams) -> Called:
    prompt = str((params.arguments or {}).get("prompt"))
    message = types.SamplingMessage(role="user", content=_text(prompt))
    result = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
    return _said(f"LLM response: {_spoken(result)}")


async def _elicits(ctx: Context, params: types.CallToolRequestParams) -> Called:
    message = str((params.arguments or {}).get("message"))
    return await _elicited(ctx, message, {"username": {"type": "string"}, "email": {"type": "string"}})


async def _elicits_defaults(ctx: Context, _params: types.CallToolRequestParams) -> Called:
    return await _elicited(ctx, "Who are you?", _DEFAULTS)


async def _elicits_choices(ctx: Context, _params: types.CallToolRequestParams) -> Called:
    return await _elicited(ctx, "Choose.", _CHOICES)


async def _elicited(ctx: Context, message: str, properties: Schema) -> Called:
    form = {"type": "object", "properties": properties, "required": list(properties)}
    result = await ctx.session.elicit_form(message, form, ctx.request_id)
    return _said(f"User response: action={result.action}, content={json.dumps(result.content)}")


async def _needs_sampling(ctx: Context, _params: types.CallToolRequestParams) -> Called:
    declared = ctx.session.client_capabilities
    if declared is None or declared.sampling is None:
        needed = types.MissingRequiredClientCapabilityErrorData(
            required_capabilities=types.ClientCapabilities(sampling=types.SamplingCapability())
        )
        data = needed.model_dump(by_alias=True, exclude_none=True)
        raise MCPError(
            code=types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="This tool needs a client that can sample.",
            data=data,
        )
    return _said("The client can sample.")


# --- tools that answer with a question first


_NAME = "What is your name?"


async def _asks_for_name(_ctx: Context, params: types.CallToolRequestParams) -> Called:
    name = _filled_in(params, "user_name", "name")
    return _said(f"Hello, {name}!") if name else _asked({"user_name": _form(_NAME, "name")})


async def _asks_a_model(_ctx: Context, params: types.CallToolRequestParams) -> Called:
    response = _response(params, "capital_question")
    if isinstance(response, types.CreateMessageResult):
        return _said(_spoken(response))
    return _asked({"capital_question": _sampling("What is the capital of France?")})


async def _asks_for_roots(_ctx: Context, params: types.CallToolRequestParams) -> Called:
    response = _response(params, "client_roots")
    if isinstance(response, types.ListRootsResult):
        return _said(", ".join(str(root.uri) for root in response.roots))
    return _asked({"client_roots": types.ListRootsRequest()})


async def _asks_to_confirm(_ctx: Context, params: types.CallToolRequestParams) -> Called:
    """The state goes out sealed and comes back opened by the product's own boundary, or not at all."""
    if _response(params, "confirm") is not None and params.request_state == "to be confirmed":
        return _said("state-ok")
    return _asked({"confirm": _form("Please confirm", "ok", "boolean")}, "to be confirmed")


async def _asks_for_everything(_ctx: Context, params: types.CallToolRequestParams) -> Called:
    questions: types.InputRequests = {
        "user_name": _form(_NAME, "name"),
        "greeting": _sampling("Generate a greeting"),
        "client_roots": types.ListRootsRequest(),
    }
    if questions.keys() <= (params.input_responses or {}).keys() and params.request_state == "everything":
        return _said("Everything was answered.")
    return _asked(questions, "everything")


async def _asks_twice(_ctx: Context, params: types.CallToolRequestParams) -> Called:
    name, color = _filled_in(params, "step1", "name"), _filled_in(params, "step2", "color")
    if color and params.request_state:
        return _said(f"{params.request_state} likes {color}.")
    if name and params.request_state:
        return _asked({"step2": _form("Step 2: What is your favorite color?", "color")}, name)
    return _asked({"step1": _form("Step 1: What is your name?", "name")}, "nobody yet")


async def _asks_what_was_declared(ctx: Context, params: types.CallToolRequestParams) -> Called:
    if params.input_responses:
        return _said("What was asked was answered.")
    declared = ctx.session.client_capabilities or types.ClientCapabilities()
    questions: types.InputRequests = {}
    if declared.elicitation is not None:
        questions["user_name"] = _form(_NAME, "name")
    if declared.sampling is not None:
        questions["greeting"] = _sampling("Generate a greeting")
    return _asked(questions, "declared")


def _asked(questions: types.InputRequests, state: str | None = None) -> types.InputRequiredResult:
    return types.InputRequiredResult(input_requests=questions, request_state=state)


def _form(message: str, name: str, kind: str = "string") -> types.ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def _sampling(prompt: str) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=_text(prompt))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=100))


def _response(
    params: types.CallToolRequestParams | types.GetPromptRequestParams, key: str
) -> types.InputResponse | None:
    return (params.input_responses or {}).get(key)


def _filled_in(params: types.CallToolRequestParams | types.GetPromptRequestParams, key: str, name: str) -> str | None:
    response = _response(params, key)
    value = (response.content or {}).get(name) if isinstance(response, types.ElicitResult) else None
    return value if isinstance(value, str) else None


def _spoken(result: types.CreateMessageResult) -> str:
    return result.content.text if isinstance(result.content, types.TextContent) else ""


# --- resources


async def _list_resources(_ctx: Context, _params: types.PaginatedRequestParams) -> types.ListResourcesResult:
    listed = [
        types.Resource(uri=uri, name=uri.partition("//")[2], description="One of the suite's", mime_type=mime)
        for uri, mime in (
            ("test://static-text", "text/plain"),
            ("test://static-binary", "image/png"),
            ("test://watched-resource", "text/plain"),
        )
    ]
    return types.ListResourcesResult(resources=listed, ttl_ms=0, cache_scope="private")


async def _list_templates(_ctx: Context, _params: types.PaginatedRequestParams) -> types.ListResourceTemplatesResult:
    template = types.ResourceTemplate(
        uri_template="test://template/{id}/data",
        name="template",
        description="One of the suite's",
        mime_type="application/json",
    )
    return types.ListResourceTemplatesResult(resource_templates=[template], ttl_ms=0, cache_scope="private")


async def _read_resource(_ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    uri = params.uri
    contents: types.TextResourceContents | types.BlobResourceContents
    if uri == "test://static-text":
        contents = _plain(uri, "text/plain", "This is the content of the static text resource.")
    elif uri == "test://watched-resource":
        contents = _plain(uri, "text/plain", "Nothing happens to it.")
    elif uri == "test://static-binary":
        contents = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
    elif found := re.fullmatch(r"test://template/([^/]+)/data", uri):
        text = json.dumps({"id": found[1], "templateTest": True, "data": f"Data for ID: {found[1]}"})
        contents = _plain(uri, "application/json", text)
    else:
        raise MCPError(code=types.INVALID_PARAMS, message="Resource not found", data={"uri": uri})
    return types.ReadResourceResult(contents=[contents], ttl_ms=0, cache_scope="private")


# --- prompts


_PROMPTS: Mapping[str, tuple[str, ...]] = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
    "test_input_required_result_prompt": (),
}


async def _list_prompts(_ctx: Context, _params: types.PaginatedRequestParams) -> types.ListPromptsResult:
    listed = [
        types.Prompt(
            name=name,
            description=f"The suite's {name}",
            arguments=[types.PromptArgument(name=n, description="A test argument", required=True) for n in names],
        )
        for name, names in _PROMPTS.items()
    ]
    return types.ListPromptsResult(prompts=listed, ttl_ms=0, cache_scope="private")


async def _get_prompt(_ctx: Context, params: types.GetPromptRequestParams) -> Prompted:
    given = params.arguments or {}
    match params.name:
        case "test_simple_prompt":
            return _prompt(_text("This is a simple prompt for testing."))
        case "test_prompt_with_arguments":
            return _prompt(_text(f"Prompt with arguments: arg1='{given.get('arg1')}', arg2='{given.get('arg2')}'"))
        case "test_prompt_with_embedded_resource":
            embedded = _embedded(given.get("resourceUri", ""), "text/plain", "Embedded resource content for testing.")
            return _prompt(embedded, _text("Please process the embedded resource above."))
        case "test_prompt_with_image":
            return _prompt(_image(), _text("Please analyze the image above."))
        case "test_input_required_result_prompt":
            if told := _filled_in(params, "user_context", "context"):
                return _prompt(_text(f"With the context {told}"))
            return _asked({"user_context": _form("What context should the prompt use?", "context")})
    raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown prompt: {params.name}")


async def _complete(_ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    values = [word for word in ("paris", "park", "party") if word.startswith(params.argument.value)]
    return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))


# --- content


def _said(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[_text(text)])


def _prompt(*content: types.ContentBlock) -> types.GetPromptResult:
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=block) for block in content])


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


def _image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PNG, mime_type="image/png")


def _embedded(uri: str, mime_type: str, text: str) -> types.EmbeddedResource:
    return types.EmbeddedResource(type="resource", resource=_plain(uri, mime_type, text))


def _plain(uri: str, mime_type: str, text: str) -> types.TextResourceContents:
    return types.TextResourceContents(uri=uri, mime_type=mime_type, text=text)


_DEFAULTS: Schema = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}
_TITLED = [{"const": f"value{n}", "title": f"Choice {n}"} for n in (1, 2, 3)]
_UNTITLED = ["option1", "option2", "option3"]
_CHOICES: Schema = {
    "untitledSingle": {"type": "string", "enum": _UNTITLED},
    "titledSingle": {"type": "string", "oneOf": _TITLED},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["One", "Two", "Three"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": _UNTITLED}},
    "titledMulti": {"type": "array", "items": {"anyOf": _TITLED}},
}
_SCHEMAS: Mapping[str, Schema] = {
    "test_sampling": {"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]},
    "test_elicitation": {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
    "test_headers": {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}},
    "json_schema_2020_12_tool": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    },
}
