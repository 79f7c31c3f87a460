"""The small versions of the fault scripts: two real processes, and what lies between them and the provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import callbacks, race, stopped
from tests.faults.proxies import ProviderProxy
from tests.faults.replicas import ROOT, Replica
from tests.faults.stage import ACCOUNTS, Member, Stage, Verdict
from tests.services import free_port
from tests.world import Served, World


class Beside(Stage):
    """The product of the test run, and a second process beside it on the same database."""

    def __init__(self, world: World, proxy: ProviderProxy, folder: Path) -> None:
        super().__init__(folder, "postgresql", world.product.url, world.sandbox.url, f"http://127.0.0.1:{proxy.port}")
        self.world, self.proxy, self.tenant = world, proxy, world.tenant.slug
        self.members: list[Member] = []
        world.install(api_base=self.provider)

    def member(self, _email: str = "", _role: str = "member", /) -> Member:
        person = self.world.person()
        self.members.append(Member(person.user.email, person.key))
        return self.members[-1]


@pytest.fixture(scope="module")
def stage(product: Served, sandbox: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("faults")
    ours = Replica(int(product.url.rsplit(":", 1)[1]), {}, folder / "none")
    theirs = Replica(free_port(), dict(os.environ), folder / "beside.log")
    theirs.start()
    try:
        with ProviderProxy(int(sandbox.url.rsplit(":", 1)[1]), port=int(os.environ["TEST_OTHER_PORT"])) as proxy:
            made = Beside(World(product, sandbox), proxy, folder)
            theirs.ready()
            made.replicas = [ours, theirs]
            yield made
            made.faults()
            for member in made.members:
                member.visitor.http.close()
    finally:
        theirs.ended()


def test_callers_of_two_processes_at_an_expiry_make_one_refresh_and_are_all_answered(stage: Stage) -> None:
    member = stage.member("me")
    caller = stage.caller(member, ACCOUNTS[0])
    verdict = Verdict("race")
    race.race(stage, verdict, {stage.connect(member, ACCOUNTS[0]).pk: caller}, rounds=3, each=25, killed=True)
    assert not verdict.wrong, verdict


def test_the_same_on_sqlite() -> None:
    words = ("--database", "sqlite", "--rounds", "2", "--callers", "15", "--killed")
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.race", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["refreshes"] == 2


def test_twenty_answers_at_once_and_the_back_button_exchange_one_code(stage: Stage) -> None:
    verdict = Verdict("callbacks")
    callbacks.together(stage, verdict, times=1)
    assert not verdict.wrong, verdict


def test_a_process_that_slept_through_its_lease_overwrites_nothing(stage: Stage) -> None:
    verdict = Verdict("stopped")
    stopped.stop(stage, verdict, "waiting", None)
    assert not verdict.wrong, verdict
