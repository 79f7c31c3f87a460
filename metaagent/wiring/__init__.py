"""The composition root: implements the agent's ports over the apps, and is the only place where sync meets async.

Each port has its own module here; this one puts a process together.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from metaagent.agent.model import Role
from metaagent.agent.ports import AccessToken, MeteredApi, Ports
from metaagent.agent.service import Agent, Limits
from metaagent.agent.telemetry import Telemetry
from metaagent.agent.traffic import LocalTraffic, Traffic, TrafficLimits
from metaagent.agent.types import Amount, ConnectionRef
from metaagent.agent.work import Manner
from metaagent.cache import server as redis_server
from metaagent.endpoint import server
from metaagent.endpoint.app import Front, McpEndpoint
from metaagent.endpoint.calls import Calls
from metaagent.endpoint.listen import Listening
from metaagent.endpoint.tools import AskDefaults
from metaagent.live import Live
from metaagent.llm.prices import PRICES_FILE, Prices
from metaagent.traffic import RedisTraffic
from metaagent.wiring.bridge import Bridge, close_connections
from metaagent.wiring.figures import AskFigures
from metaagent.wiring.journal import Journal
from metaagent.wiring.ledger import DayLedger
from metaagent.wiring.people import ConnectLinks, VaultApprovals, VaultConsents
from metaagent.wiring.rights import Bearers, Remembered, Standing, Watch
from metaagent.wiring.sight import PageSight
from metaagent.wiring.stores import CacheShared, LocalShared
from providers.client import ApiClient, Sessions
from providers.egress import Egress, EgressPolicy
from providers.spec import Access, ProviderSpec
from vault.services import once

if TYPE_CHECKING:
    from metaagent.llm.claude import Claude
    from metaagent.otlp import Outlet

log = logging.getLogger(__name__)

_BEARER_S = 5.0
"""How long a bearer is remembered, though nobody's rights change."""


@dataclass(slots=True)
class Runtime:
    """Everything one process runs."""

    agent: Agent
    endpoint: McpEndpoint
    live: Live
    bridge: Bridge
    journal: Journal
    ledger: DayLedger
    figures: AskFigures
    egress: Egress
    model: Claude | None
    telemetry: Telemetry
    outlet: Outlet | None
    """Where spans leave, if they do."""

    async def aclose(self) -> None:
        """End in order: no new work, then what is in flight, then the log and the spans."""
        await self.endpoint.aclose()
        await self.agent.aclose()
        if self.model:
            await self.model.aclose()
        await self.egress.aclose()
        await self.ledger.aclose()
        await self.figures.aclose()
        await asyncio.to_thread(self.bridge.close)
        await self.journal.aclose()
        if self.outlet:
            await asyncio.to_thread(self.outlet.close)
        await asyncio.to_thread(close_connections)  # Django refuses to close them where an event loop runs


def traffic(bridge: Bridge) -> Traffic:
    """The limits on calls to providers, from the settings."""
    limits = TrafficLimits(
        per_account=settings.PROVIDER_CALLS_PER_MINUTE,
        per_tenant=settings.PROVIDER_CALLS_PER_MINUTE_TENANT,
        at_once=settings.PROVIDER_CALLS_AT_ONCE,
        at_once_account=settings.PROVIDER_CALLS_AT_ONCE_ACCOUNT,
        breaker_failures=settings.BREAKER_FAILURES,
        breaker_pause_s=settings.BREAKER_PAUSE_S,
    )
    if not settings.REDIS_URL:
        return Traffic(LocalTraffic(limits), limits)
    share = settings.LIMITS_WITHOUT_REDIS_PERCENT / 100
    return Traffic(RedisTraffic(redis_server(settings.REDIS_URL), limits, share=share, run=bridge.quick), limits)


def _outlet() -> Outlet | None:
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        return None
    from metaagent.otlp import Outlet  # noqa: PLC0415 - the SDK costs start-up time and memory

    return Outlet(
        settings.OTEL_EXPORTER_OTLP_ENDPOINT,
        headers=settings.OTEL_EXPORTER_OTLP_HEADERS,
        service=settings.OTEL_SERVICE_NAME,
        timeout_s=settings.TELEMETRY_SEND_S,
    )


def build() -> Runtime:
    """Put one process together from the settings."""
    outlet = _outlet()
    telemetry = Telemetry(outlet.tracer if outlet else None, content=settings.TELEMETRY_CONTENT)
    if settings.TELEMETRY_CONTENT:
        log.warning("TELEMETRY_CONTENT is on: spans hold what people ask and are answered.")
    bridge = Bridge()
    journal = Journal(settings.SECRET_KEY)
    watch, kept_s = Watch(bridge, settings.STANDING_CACHE_MS / 1_000), float(settings.STANDING_KEPT_S)
    rights = Standing(bridge, watch, Remembered(watch, kept_s), Remembered(watch, kept_s))
    egress = Egress(EgressPolicy.parse(settings.EGRESS_ALLOW_CIDRS, settings.EGRESS_ALLOW_HTTP_HOSTS))

    model = _model(egress)
    ledger, figures = DayLedger(bridge), AskFigures(bridge)

    sessions = Sessions()

    def dial(provider: ProviderSpec, token: AccessToken, connection: ConnectionRef) -> MeteredApi:
        api_base = connection.api_base or provider.api_base
        return ApiClient(
            egress,
            api_base=api_base,
            web_base=provider.web_base or api_base,
            token=None if provider.access is Access.NONE else token,
            key=provider.key,
            headers=provider.headers,
            refusal_of=provider.refusal_of,
            session=sessions.of((connection.id, token.version)),
        )

    ports = Ports(
        admissions=rights,
        tokens=rights,
        links=ConnectLinks(bridge),
        consents=VaultConsents(bridge),
        audit=journal,
        approvals=VaultApprovals(bridge),
        ledger=ledger,
        figures=figures,
        shared=CacheShared(bridge) if settings.REDIS_URL else LocalShared(settings.RESULT_STORE_BYTES),
        traffic=traffic(bridge),
        telemetry=telemetry,
        dial=dial,
        stamp=watch.stamp,
        price=_prices().cost,
        model=model,
    )
    agent = Agent(ports, _limits())

    async def first_use(state_id: str) -> bool:
        return await bridge.quick(lambda: once.first_use(state_id=state_id, now=datetime.now(UTC)))

    calls = Calls(agent, AskDefaults(settings.ANSWER_TOKENS), settings.CONNECT_WAIT_S, first_use)
    bearers = Bearers(bridge, Remembered(watch, _BEARER_S))
    mcp_server = server.build(
        calls,
        Listening(agent, bearers, per_principal=settings.LISTENING_PER_CLIENT, most=settings.LISTENING),
        state_keys=_ring("mcp-request-state"),
        page_bytes=settings.RESULT_PAGE_BYTES,
    )
    front = Front(
        public_url=settings.PUBLIC_URL,
        hosts=_hosts(),
        origins=frozenset(origin.encode() for origin in settings.ALLOWED_ORIGINS),
        body_bytes=settings.MCP_BODY_BYTES,
        session_key=_derived("mcp-session"),
    )
    endpoint = McpEndpoint(front, calls, bearers, mcp_server)
    live = Live(
        PageSight(bridge),
        origin=settings.PUBLIC_URL,
        per_person=settings.LIVE_PER_PERSON,
        most=settings.LIVE,
        idle_s=settings.LIVE_IDLE_S,
    )
    return Runtime(agent, endpoint, live, bridge, journal, ledger, figures, egress, model, telemetry, outlet)


def _limits() -> Limits:
    return Limits(
        per_user=settings.ASKS_PER_MINUTE,
        per_tenant=settings.ASKS_PER_MINUTE_TENANT,
        at_once=settings.ASKS_AT_ONCE,
        budget=Amount(
            turns=settings.ASK_MODEL_TURNS,
            calls=settings.TOOL_CALLS_PER_ASK,
            tokens=settings.ASK_TOKENS,
            micros=settings.ASK_MICROS,
            ms=settings.ASK_DEADLINE_S * 1_000,
        ),
        manner=Manner(
            models={Role.CHOOSE: settings.AGENT_SMALL_MODEL, Role.WRITE: settings.AGENT_MODEL},
            turn_s=settings.MODEL_TURN_S,
            result_ttl_s=settings.RESULT_TTL_S,
        ),
        result_cache_s=settings.RESULT_CACHE_S,
    )


def _model(egress: Egress) -> Claude | None:
    if not settings.ANTHROPIC_API_KEY and not settings.ANTHROPIC_BASE_URL:
        return None
    from metaagent.llm import claude  # noqa: PLC0415 - the SDK costs seconds of start-up and 55 MB

    base_url = settings.ANTHROPIC_BASE_URL or claude.ANTHROPIC_URL
    return claude.Claude(
        api_key=settings.ANTHROPIC_API_KEY,
        models=_limits().manner.models,
        transport=claude.way_out(base_url, egress),
        base_url=base_url,
    )


def _prices() -> Prices:
    """Raises: ImproperlyConfigured."""
    try:
        return Prices.read(Path(settings.MODEL_PRICES or PRICES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as wrong:
        raise ImproperlyConfigured(f"MODEL_PRICES cannot be used: {wrong}") from None


def _ring(purpose: str) -> list[bytes]:
    """Keys of their own for each purpose, the same in every replica: the first seals, all open."""
    secrets = dict.fromkeys([settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS])
    return [hmac.digest(secret.encode(), f"metaagent {purpose}".encode(), hashlib.sha256) for secret in secrets]


def _derived(purpose: str) -> bytes:
    """The one key of a purpose that has no use for former ones."""
    return _ring(purpose)[0]


def _hosts() -> frozenset[bytes]:
    public = urlsplit(settings.PUBLIC_URL)
    port = f":{public.port}" if public.port else ""
    named = {public.netloc, *(f"{host}{port}" for host in settings.ALLOWED_HOSTS)}
    return frozenset(host.encode() for host in named)
