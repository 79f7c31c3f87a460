"""Spans on their way to the operator's collector, over OTLP/HTTP. Loaded only where there is one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from uuid import uuid4

import requests  # noqa: TID251 - the exporter's own client, for the one address that the operator chose
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from metaagent import __version__

log = logging.getLogger(__name__)
logging.getLogger("opentelemetry.util.re").setLevel(logging.ERROR)  # prints headers that it does not understand


class Outlet:
    """Gathers spans and sends them from a thread of its own. A collector that is slow or gone costs spans, not asks.

    It is no provider of a tenant's, so the egress guard is not asked; nor is any proxy or `.netrc` of the environment.
    Nothing is registered with OpenTelemetry: other libraries in this process go on tracing nothing.
    """

    def __init__(self, endpoint: str, *, headers: Mapping[str, str], service: str, timeout_s: float) -> None:
        """`endpoint` is the base that signals' paths are added to; sending once takes at most `timeout_s`."""
        session = requests.Session()
        session.trust_env = False
        exporter = OTLPSpanExporter(
            f"{endpoint.rstrip('/')}/v1/traces", headers=headers, timeout=timeout_s, session=session
        )
        about = {"service.name": service, "service.version": __version__, "service.instance.id": str(uuid4())}
        self._timeout_s = timeout_s
        self._spans = TracerProvider(
            resource=Resource.create(about),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_span_attribute_length=8_000),
            meter_provider=NoOpMeterProvider(),
        )
        self._spans.add_span_processor(BatchSpanProcessor(exporter, meter_provider=NoOpMeterProvider()))
        self.tracer = self._spans.get_tracer("metaagent", __version__)

    def close(self) -> None:
        """Send what is waiting, for as long as sending once may take; what is left then is lost."""
        ending = threading.Thread(target=self._spans.shutdown, name="spans", daemon=True)
        ending.start()
        ending.join(self._timeout_s)
        if ending.is_alive():
            log.warning("the last spans could not be sent in time")
