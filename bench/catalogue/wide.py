"""The sandbox's tools among five hundred."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bench.manifest import made_up
from providers.catalogue import sentry

TOOLS: Final = 500

PROVIDER = replace(sentry.PROVIDER, id="wide", tools=(*sentry.TOOLS, *made_up(TOOLS - len(sentry.TOOLS))))
