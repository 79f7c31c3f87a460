"""One sandbox for all tests here; each test has its own application, counts from zero, and no faults."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx2
import pytest
from starlette.applications import Starlette

from providers.sandbox.app import SandboxOptions, create_app

from .visitor import Clock, Visitor

NOW = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)


@pytest.fixture(scope="session")
def clock() -> Clock:
    return Clock(NOW.timestamp())


@pytest.fixture(scope="session")
def app(clock: Clock) -> Starlette:
    return create_app(SandboxOptions(now=NOW, clock=clock))


def browser(app: Starlette) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1:8100")


@pytest.fixture
async def visitor(app: Starlette) -> AsyncIterator[Visitor]:
    async with browser(app) as http:
        visitor = Visitor(http)
        await visitor.register()
        await visitor.faults()
        await http.post("/_reset")
        yield visitor


@pytest.fixture
async def other(app: Starlette) -> AsyncIterator[Visitor]:
    """Another browser and another application."""
    async with browser(app) as http:
        visitor = Visitor(http)
        await visitor.register()
        yield visitor
