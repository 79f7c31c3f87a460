"""What the tests of REST share."""

from __future__ import annotations

import pytest
from django.core.cache import cache

from tests.api.place import Place


@pytest.fixture(autouse=True)
def _unhurried() -> None:
    """Every test begins with the whole pace of its keys, and with no key refused."""
    cache.clear()


@pytest.fixture
def place(database: None) -> Place:
    """A fresh tenant with a person of each role."""
    return Place()
