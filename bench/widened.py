"""The product with one more provider in its catalogue: `wide`."""

from __future__ import annotations

from bench.catalogue import join

join()

from metaagent.asgi import application as application  # noqa: E402, PLC0414 - what uvicorn is told to serve
