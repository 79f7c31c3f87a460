"""The ASGI application: /mcp goes straight to the endpoint, everything else to Django."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import threading
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "metaagent.settings")

from django.core.asgi import get_asgi_application

_django = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import get_resolver, re_path

from metaagent import wiring
from metaagent.background import Embedded
from metaagent.bounds import Bounded
from metaagent.endpoint.app import Receive, Scope, Send, metadata
from metaagent.metrics import Metrics
from metaagent.wiring import page
from vault.services import keys

if not settings.DEBUG:
    keys.require()
runtime = wiring.build()
page.serve(runtime.agent)

# What is loaded now stays: the collector need not walk it again and again while calls are served, and a call makes
# too much that dies with it for the collector to come every 700 objects.
gc.collect()
gc.freeze()
gc.set_threshold(5_000, 20, 50)


async def lifespan(_scope: Scope, receive: Receive, send: Send) -> None:
    """Nothing is needed to start; at the end what is in flight is finished and written."""
    background = Embedded() if settings.BACKGROUND else None
    while True:
        message: Any = await receive()
        if message["type"] == "lifespan.startup":
            # The pages take two seconds to load: nobody's first page waits for that, nor does the endpoint.
            threading.Thread(target=lambda: get_resolver().url_patterns, name="pages", daemon=True).start()
            if background:
                background.start()
        if message["type"] == "lifespan.shutdown":
            if background:
                await asyncio.to_thread(background.stop)
            await runtime.aclose()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _route(pattern: str, app: Any) -> Any:  # noqa: ANN401 - Channels routes to ASGI applications, Django's types to views
    return re_path(pattern, app)


application = ProtocolTypeRouter(
    {
        "http": URLRouter(
            [
                _route(r"^mcp(?:/.*)?$", runtime.endpoint),
                _route(
                    r"^\.well-known/oauth-protected-resource(?:/.*)?$",
                    functools.partial(metadata, public_url=settings.PUBLIC_URL),
                ),
                _route(r"^metrics$", Metrics(runtime.telemetry, settings.METRICS_TOKEN)),
                _route(r"", Bounded(_django)),
            ]
        ),
        "websocket": runtime.live,
        "lifespan": lifespan,
    }
)
