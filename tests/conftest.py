"""The world tests live in: the product and the sandbox served for real, and tenants of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis

from audit import sealing
from tests.world import Served, World, serve

# How quick a machine is, is nothing that a property has to say.
hypothesis.register_profile("ours", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.load_profile("ours")


@pytest.fixture(scope="session", autouse=True)
def database(django_db_blocker: Any) -> Iterator[None]:
    """This worker's own database, migrated. Tests make tenants of their own and clean nothing up."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one is slow on purpose
    sealing._WAIT_S = 30.0  # all workers share a cluster, and with it each other's open transactions
    with django_db_blocker.unblock():
        call_command("migrate", verbosity=0)
        yield
        connection.close()
        if close_pool := getattr(connection, "close_pool", None):
            close_pool()


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Served]:
    """The sandbox provider."""
    from providers.sandbox.app import create_app

    with serve(create_app(), int(os.environ["TEST_SANDBOX_PORT"])) as served:
        yield served


@pytest.fixture(scope="session")
def product(database: None) -> Iterator[Served]:
    """The product, as uvicorn serves it."""
    from metaagent.asgi import application

    port = int(os.environ["PUBLIC_URL"].rsplit(":", 1)[1])
    with serve(application, port) as served:
        yield served


@pytest.fixture
def world(product: Served, sandbox: Served) -> World:
    """A fresh tenant with one person, their key, and Sentry installed against the sandbox."""
    return World(product, sandbox)
