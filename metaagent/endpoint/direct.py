"""The short way for a plain `tools/call`. What is not surely plain is left to the SDK, and both answer alike.

The SDK's server costs a call several times what everything else about it does. So that nothing is decided twice, this
only recognises requests that the SDK would pass to `Calls` and writes the results it would write; every refusal and
every question stays with the SDK. tests/endpoint/test_both_paths.py sends the same requests both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson
from mcp import types
from mcp.shared.inbound import MCP_METHOD_HEADER, MCP_NAME_HEADER
from mcp.types.methods import validate_client_request
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError
from pydantic_core import from_json

from metaagent.endpoint import render, tools
from metaagent.endpoint.calls import Call, Form
from metaagent.values import value

_METHOD = "tools/call"
_METHOD_HEADER, _NAME_HEADER = MCP_METHOD_HEADER.encode(), MCP_NAME_HEADER.encode()
_MESSAGE = {"jsonrpc", "id", "method", "params"}
_PARAMS = {"name", "arguments", "_meta"}
_RESERVED = "io.modelcontextprotocol/"
_ENVELOPE = {types.PROTOCOL_VERSION_META_KEY, types.CLIENT_CAPABILITIES_META_KEY, types.CLIENT_INFO_META_KEY}
_DECLARED_BYTES = 4_000
"""A longer declaration is not kept to be recognised again."""


@value
class Plain:
    """A call that needs nothing of the SDK."""

    id: int | str
    name: str
    arguments: dict[str, Any]
    form: Form
    modern: bool
    caller: object = None
    """What the request says its `traceparent` is."""

    def answer(self, result: render.Body, server_info: Mapping[str, str]) -> bytes | None:
        """The response's body as the SDK would write it, in UTF-8; None for what only the SDK can write."""
        if self.modern:
            result = {
                "content": result["content"],
                "isError": result["isError"],
                "resultType": "complete",
                "structuredContent": result["structuredContent"],
                "_meta": {types.SERVER_INFO_META_KEY: server_info},
            }
        try:
            return orjson.dumps({"jsonrpc": "2.0", "id": self.id, "result": result})
        except TypeError:  # half a character, or a very large number
            return None


def plain(version: str, headers: Mapping[bytes, bytes], body: bytes, call: Call) -> Plain | None:
    """The call, if the SDK would surely make it and answer in JSON; `version` is the header's.

    No header may be there twice: which of the two counts is the SDK's to say.
    """
    modern = version in MODERN_PROTOCOL_VERSIONS
    if version and not modern and version not in HANDSHAKE_PROTOCOL_VERSIONS:
        return None
    if not _is_json(headers.get(b"content-type", b"")) or not _takes_json(headers.get(b"accept", b"")):
        return None
    try:
        message = from_json(body)  # it takes no half characters; what it takes means the same to both eras' parsers
    except ValueError:
        return None
    if type(message) is not dict or message.keys() != _MESSAGE:
        return None
    params = message["params"]
    if type(params) is not dict or not params.keys() <= _PARAMS:
        return None
    request_id, name, arguments, meta = message["id"], params.get("name"), params.get("arguments"), params.get("_meta")
    if not (
        message["jsonrpc"] == "2.0"
        and message["method"] == _METHOD
        and type(request_id) in {int, str}
        and type(name) is str
        and name.startswith(tools.PREFIX)
        and type(arguments) is dict
    ):
        return None
    if modern:
        opens_urls = _envelope(version, headers, name, meta)
    else:
        opens_urls = bool(call.url_elicitation) if _says_nothing(meta, params) else None
    if opens_urls is None:
        return None
    caller = meta.get("traceparent") if type(meta) is dict else None
    return Plain(request_id, name, arguments, Form.of(version, opens_urls=opens_urls), modern, caller)


def _envelope(version: str, headers: Mapping[bytes, bytes], name: str, meta: object) -> bool | None:
    """Whether a modern client opens URLs, or None for an envelope that is not plain."""
    if headers.get(_METHOD_HEADER) != _METHOD.encode() or headers.get(_NAME_HEADER) != name.encode():
        return None
    if type(meta) is not dict or meta.get(types.PROTOCOL_VERSION_META_KEY) != version or not _harmless(meta):
        return None
    try:
        declared = orjson.dumps([meta[types.CLIENT_CAPABILITIES_META_KEY], meta.get(types.CLIENT_INFO_META_KEY)])
    except (KeyError, TypeError):
        return None
    return _declares_urls(version, declared) if len(declared) <= _DECLARED_BYTES else None


def _says_nothing(meta: object, params: Mapping[str, object]) -> bool:
    return "_meta" not in params or (type(meta) is dict and _harmless(meta))


def _harmless(meta: dict[str, Any]) -> bool:
    """Whether nothing in it asks for anything: progress, logging, what a later revision may add."""
    return "progressToken" not in meta and all(key in _ENVELOPE or not key.startswith(_RESERVED) for key in meta)


@lru_cache(maxsize=1_024)
def _declares_urls(version: str, declared: bytes) -> bool | None:
    """Whether capabilities name `elicitation.url`, or None when the SDK would not take what the client declared."""
    capabilities, info = orjson.loads(declared)
    meta = {
        types.PROTOCOL_VERSION_META_KEY: version,
        types.CLIENT_CAPABILITIES_META_KEY: capabilities,
        types.CLIENT_INFO_META_KEY: info,
    }
    try:
        validate_client_request(_METHOD, version, {"name": "", "_meta": meta})
        elicitation = types.ClientCapabilities.model_validate(capabilities, by_name=False).elicitation
    except ValidationError:
        return None
    return elicitation is not None and elicitation.url is not None


@lru_cache(maxsize=256)
def _is_json(content_type: bytes) -> bool:
    kind, _, rest = content_type.partition(b";")
    return kind.strip() == b"application/json" and b"," not in rest


@lru_cache(maxsize=256)
def _takes_json(accept: bytes) -> bool:
    return b"application/json" in {part.partition(b";")[0].strip() for part in accept.split(b",")}
