"""The product as a deployment runs it: production settings, a database of its own, people of several tenants."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.servers import ROOT, NotServing

TENANTS, PEOPLE = 6, 10
"""How many tenants, and people in each; every person has a key and a connected account."""


@dataclass(frozen=True, slots=True)
class Account:
    """One person's way in."""

    path: str
    key: str


def environment(folder: Path, port: int, provider_port: int, samples: Path | None = None) -> dict[str, str]:
    """Settings for one run; nothing is turned off but the limits no closed loop could stay within."""
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
        "LOG_LEVEL": "WARNING",
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
