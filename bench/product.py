"""The product as a deployment runs it: production settings, a database of its own, people of several tenants."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.servers import ROOT, NotServing
from tests import services

REMOTE = "remote"
"""The provider that is an MCP server."""
TENANTS, PEOPLE = 6, 10
"""How many tenants, and people in each; every person has a key and a connected account."""


@dataclass(frozen=True, slots=True)
class Account:
    """One person's way in."""

    path: str
    key: str


@contextmanager
def database() -> Iterator[str]:
    """What a deployment has: PostgreSQL, which waits for the disk; SQLite, `""`, where that cannot be started."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    try:
        url, stop = services.postgresql(durable=True)
    except services.Missing as missing:
        sys.stderr.write(f"On SQLite, which costs more: {missing}.\n")
        yield ""
        return
    try:
        yield url
    finally:
        stop()


def environment(
    folder: Path, port: int, provider_port: int, database: str, samples: Path | None = None
) -> dict[str, str]:
    """Settings for one run: no limits that no closed loop could stay within, and each call goes to the provider."""
    sampling = {"BENCH_SAMPLES": str(samples.absolute())} if samples else {}
    return sampling | {
        "DJANGO_SETTINGS_MODULE": "metaagent.settings",
        "VAR_DIR": str(folder),
        "SECRET_KEY": secrets.token_urlsafe(64),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "EGRESS_ALLOW_CIDRS": "127.0.0.0/8",
        "EGRESS_ALLOW_HTTP_HOSTS": f"127.0.0.1:{provider_port}",
        "BENCH_PROVIDER_URL": f"http://127.0.0.1:{provider_port}",
        "ASKS_PER_MINUTE": "10000000",
        "ASKS_PER_MINUTE_TENANT": "10000000",
        "PROVIDER_CALLS_PER_MINUTE": "10000000",
        "RESULT_CACHE_S": "0",
        "PROVIDER_CALLS_PER_MINUTE_TENANT": "10000000",
        "LOG_LEVEL": "WARNING",
        "DATABASE_URL": database,
    }


def application(settings: Mapping[str, str]) -> str:
    """What is served with these settings."""
    return "bench.sampled:application" if "BENCH_SAMPLES" in settings else "metaagent.asgi:application"


def accounts(settings: Mapping[str, str]) -> list[Account]:
    """Make the database and everybody in it, in a process that ends. Raises: NotServing."""
    made = subprocess.run(
        [sys.executable, "-m", "bench.accounts"], cwd=ROOT, env=dict(settings), stdout=subprocess.PIPE, check=False
    )
    if made.returncode:
        raise NotServing("The accounts could not be made.")
    return [Account(**json.loads(line)) for line in made.stdout.splitlines()]
