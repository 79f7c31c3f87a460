"""The product as the peers find it: behind a proxy that writes down what they ask for, as one process or as two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from metaagent import demo
from tests import services
from tests.faults.proxies import RoundRobin
from tests.faults.replicas import Replica
from tests.peers.place import Wrong


@dataclass(frozen=True)
class Stage(demo.Stage):
    """The demo's, called by the proxy's address, with more providers it may reach: the mock, and the others' ports."""

    mock_port: int
    proxy: RoundRobin
    others: tuple[int, ...] = ()
    shared: Mapping[str, str] = field(default_factory=dict)
    """The settings that name what several processes share."""

    @property
    def url(self) -> str:
        """See `demo.Stage.url`."""
        return f"http://127.0.0.1:{self.proxy.port}"

    @property
    def environment(self) -> dict[str, str]:
        """See `demo.Stage.environment`."""
        reachable = ",".join(f"127.0.0.1:{port}" for port in (self.sandbox_port, self.mock_port, *self.others))
        return {**super().environment, "EGRESS_ALLOW_HTTP_HOSTS": reachable, **self.shared}


@contextmanager
def running(stage: Stage) -> Iterator[None]:
    """Everything up: one process on SQLite, or two where there is something to share. Raises: Wrong, DemoError."""
    with ExitStack() as up:
        up.enter_context(demo._running(stage))
        if stage.shared:
            beside = Replica(services.free_port(), stage.environment, stage.var / "beside.log")
            beside.start()
            up.callback(beside.ended)
            beside.ready()
            stage.proxy.targets.append(beside.port)
        yield


@contextmanager
def shared() -> Iterator[dict[str, str]]:
    """PostgreSQL and Redis, as settings. Raises: Wrong."""
    with ExitStack() as up:
        found = {}
        for setting, start in (("DATABASE_URL", services.postgresql), ("REDIS_URL", services.redis)):
            try:
                found[setting], stop = start()
            except services.Missing as missing:
                raise Wrong(f"Two processes need PostgreSQL and Redis: {missing}") from missing
            up.callback(stop)
        yield found
