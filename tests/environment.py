"""The settings of a test run, made before Django reads them; loaded by `-p tests.environment`.

One PostgreSQL and one Redis serve all workers of a run; each worker has its own database, ports and folder.
"""

from __future__ import annotations

import atexit
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests import services

MISSING: dict[str, str] = {}
"""Services this run goes without, with the reason."""

_stops: list[Callable[[], None]] = []


def _own_database(cluster: str) -> str:
    """A database of this process in the run's cluster; empty for SQLite in its own folder."""
    if not cluster:
        return ""
    name = f"test_{os.getpid()}"
    with psycopg.connect(cluster, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{cluster.rsplit('/', 1)[0]}/{name}"


def _begin() -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ and "METAAGENT_TEST_DATABASE" not in os.environ:
        for name, variable, start in (
            ("postgresql", "METAAGENT_TEST_DATABASE", services.postgresql),
            ("redis", "METAAGENT_TEST_REDIS", services.redis),
        ):
            try:
                os.environ[variable], stop = start()
                _stops.append(stop)
            except services.Missing as missing:
                os.environ[variable] = ""
                MISSING[name] = str(missing)
    for name, variable in (("postgresql", "METAAGENT_TEST_DATABASE"), ("redis", "METAAGENT_TEST_REDIS")):
        if not os.environ[variable]:
            MISSING.setdefault(name, f"{name} could not be started")
    try:
        services.chromium()
    except services.Missing as missing:
        MISSING["chromium"] = str(missing)

    product, sandbox, other = (services.free_port() for _ in range(3))
    for name in ("REDIS_URL", "CELERY_BROKER_URL", "VAULT_KEK", "ALLOWED_HOSTS"):
        os.environ.pop(name, None)
    os.environ |= {
        "DEBUG": "0",
        "SECRET_KEY": secrets.token_urlsafe(64),
        "VAR_DIR": tempfile.mkdtemp(prefix="metaagent-test-"),
        "DATABASE_URL": _own_database(os.environ["METAAGENT_TEST_DATABASE"]),
        "PUBLIC_URL": f"http://127.0.0.1:{product}",
        "TEST_SANDBOX_PORT": str(sandbox),
        "TEST_OTHER_PORT": str(other),
        "EGRESS_ALLOW_CIDRS": "127.0.0.1/32",
        "EGRESS_ALLOW_HTTP_HOSTS": f"127.0.0.1:{sandbox},127.0.0.1:{other}",
        "API_REQUESTS_PER_MINUTE": "10000",
        "ASKS_PER_MINUTE": "6000",
        "ASKS_PER_MINUTE_TENANT": "6000",
        "CONNECT_WAIT_S": "5",
        "RESULT_CACHE_S": "0",  # tests/flows/test_result_cache.py switches it on
        "LOGIN_FAILURES_PER_HOUR": "1000",
        "CLIENT_REGISTRATIONS_PER_HOUR": "100000",
        "CLIENT_REGISTRATIONS_PER_MINUTE": "100000",
        "BACKGROUND": "0",
    }


_begin()


def _end() -> None:
    while _stops:
        _stops.pop()()


atexit.register(_end)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-all", action="store_true", help="fail instead of skipping where a service is missing")


def pytest_configure(config: pytest.Config) -> None:
    if MISSING and config.getoption("--require-all"):
        raise pytest.UsageError("missing: " + "; ".join(f"{name} ({why})" for name, why in MISSING.items()))


def pytest_unconfigure() -> None:
    _end()


def pytest_report_header() -> str:
    database = "PostgreSQL" if "postgresql" not in MISSING else f"SQLite ({MISSING['postgresql']})"
    return f"metaagent: {database}, folder {Path(os.environ['VAR_DIR']).name}"
