"""Providers of the bench alone."""

from __future__ import annotations

from pathlib import Path

from providers import catalogue


def join() -> None:
    """Put what stands beside this file into the product's catalogue, in this process."""
    catalogue.__path__.append(str(Path(__file__).parent))
