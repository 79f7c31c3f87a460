"""The product's whole application with the suite's tools in place of its own. Only `make conformance` starts it."""

from __future__ import annotations

from typing import Any

from mcp.server import Server

from metaagent.endpoint import server
from tests.conformance import fixture

_build = server.build


def _equipped(*args: Any, **kwargs: Any) -> Server[Any]:
    """What the product builds, with its middleware and keys; only the handlers are exchanged."""
    built = _build(*args, **kwargs)
    fixture.equip(built)
    return built


server.build = _equipped

from metaagent.asgi import application  # noqa: E402 - it builds its server while it is imported

__all__ = ["application"]
