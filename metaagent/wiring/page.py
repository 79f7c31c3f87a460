"""An ask that comes from one of our own pages: its thread waits while the agent works where it always does."""

from __future__ import annotations

from asgiref.sync import async_to_sync  # noqa: TID251 - metaagent/wiring may
from django.db import connection

from metaagent.agent.service import Agent
from metaagent.agent.types import Answer, Ask, Principal

_serving: list[Agent] = []


class NotServed(Exception):
    """No agent runs in this process: the pages are served without the endpoint."""


def serve(agent: Agent) -> None:
    """This process's agent."""
    _serving[:] = [agent]


def ask(principal: Principal, provider_id: str, asked: Ask) -> Answer:
    """Have it answered. Raises: NotServed, metaagent.agent.failures.Failure.

    The thread's database connection is given back first: an ask may take longer than others can wait for one.
    """
    if not _serving:
        raise NotServed
    connection.close()
    answer: Answer = async_to_sync(_serving[0].ask)(principal, provider_id, asked)
    return answer
