"""`audit_verify`: with the database, and with two files on a machine that has neither settings nor a secret."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from audit import outside, sealing
from audit.chain import Signer
from tests.audit.test_chain import record, superuser
from tests.commands.test_commands import command, refused
from tests.world import World

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "AUDIT_CHECKPOINT_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept"


def seal() -> None:
    sealing.work(now=datetime.now(UTC))


def exported(world: World, tmp_path: Path) -> Path:
    out = tmp_path / "log.jsonl"
    command("audit_export", world.tenant.slug, "--out", str(out))
    return out


def alone(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Somewhere else: no variable of ours is set."""
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    call = [sys.executable, "manage.py", "audit_verify", *map(str, words)]
    return subprocess.run(call, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)


def test_a_tenant_s_log_is_held_against_the_database_s_checkpoints_and_those_outside(world: World, kept: Path) -> None:
    world.connect()
    seal()
    [found] = command("audit_verify", world.tenant.slug)["logs"]
    assert (found["whole"], found["events"]) == (True, len(world.events()))
    again = command("audit_verify", world.tenant.slug, "--checkpoints", str(kept))
    assert again["logs"] == [found]
    assert found["keys"] == [sealing.signer().public]
    record(world.tenant.pk)
    [found] = command("audit_verify", world.tenant.slug)["logs"]
    assert found["not_sealed"] == 1


def test_the_first_place_that_does_not_hold_is_one_line_and_exit_code_1(world: World, kept: Path) -> None:
    seal()
    first = world.events()[0]
    with superuser(world.tenant.pk):
        type(first).objects.filter(pk=first.pk).update(tool="x")
        says = refused("audit_verify", world.tenant.slug)
        assert str(world.tenant.pk) in says
        assert "not what it was when it was sealed" in says
        out = io.StringIO()
        with pytest.raises(CommandError):
            call_command("audit_verify", world.tenant.slug, "--json", stdout=out, stderr=io.StringIO())
        assert json.loads(out.getvalue())["whole"] is False


def test_a_file_is_checked_on_a_machine_that_has_nothing_else(world: World, kept: Path, tmp_path: Path) -> None:
    world.connect()
    seal()
    out = exported(world, tmp_path)
    done = alone("--export", out, "--checkpoints", kept, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["tenant"], found["events"] + found["not_sealed"]) == (str(world.tenant.pk), len(world.events()))
    done = alone("--export", out, "--checkpoints", kept, "--key", "00" * 32)
    assert (done.returncode, done.stdout) == (1, "")
    assert "signed with a key that is not known" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert alone("--export", out).returncode == 2
    assert alone("--export", out, "--checkpoints", kept, "--key", "short").returncode == 2


Lines = list[bytes]


def changed(lines: Lines) -> Lines:
    return [lines[0], lines[1].replace(b'"kind":"', b'"kind":"x'), *lines[2:]]


def twice(lines: Lines) -> Lines:
    """A reader sees the first name, a parser the last."""
    return [lines[0], lines[1].replace(b"{", b'{"kind":"tenant.create.done",', 1), *lines[2:]]


@pytest.mark.parametrize(
    ("touch", "says"),
    [
        (changed, "not what it was"),
        (lambda lines: [lines[0], *lines[2:]], "1 missing"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "order"),
        (lambda lines: lines[:2], "its end is cut off"),
        (lambda lines: [lines[0], lines[0], *lines[1:]], "order"),
        (twice, "Line 2 is not an event as it was exported"),
        (lambda lines: [lines[0], b"{}\n", *lines[1:]], "Line 2 is not an event"),
        (lambda lines: [lines[0], b"\xff\n", *lines[1:]], "Line 2 is not an event"),
        (lambda lines: [lines[0], lines[1].replace(b'"detail":{', b'"detail":{"x":NaN,'), *lines[2:]], "Line 2 is not"),
        (lambda lines: [lines[0], b"[" * 100_000 + b"\n", *lines[1:]], "Line 2 is not an event"),
    ],
)
def test_a_file_that_was_touched_is_found(
    world: World, kept: Path, tmp_path: Path, touch: Callable[[Lines], Lines], says: str
) -> None:
    seal()
    out = exported(world, tmp_path)
    out.write_bytes(b"".join(touch(out.read_bytes().splitlines(keepends=True))))
    assert says in refused("audit_verify", "--export", str(out), "--checkpoints", str(kept))


def test_how_a_file_is_laid_out_does_not_matter(world: World, kept: Path, tmp_path: Path) -> None:
    seal()
    out = exported(world, tmp_path)
    out.write_text("".join(json.dumps(json.loads(line), indent=None) + "\n" for line in out.read_text().splitlines()))
    assert command("audit_verify", "--export", str(out), "--checkpoints", str(kept))["whole"]


def test_checkpoints_that_were_touched_are_found(world: World, kept: Path, tmp_path: Path) -> None:
    for _ in range(3):
        record(world.tenant.pk)
        seal()
    out, file = exported(world, tmp_path), kept / f"{world.tenant.pk}.jsonl"
    whole = file.read_text().splitlines(keepends=True)
    check = ("audit_verify", "--export", str(out), "--checkpoints", str(kept))
    forger = Signer("mine")
    [one, *_] = outside.of(kept, str(world.tenant.pk)).read()
    forged = forger.sign(replace(one, count=one.count - 1, total=one.total - 1)).line() + "\n"
    for lines, says in [
        ([whole[0], whole[2]], "Checkpoint 2 is missing"),
        ([whole[0], whole[1].replace('"count":', '"count":1'), whole[2]], "Checkpoint 2 was altered"),
        ([forged, *whole[1:]], "Checkpoint 1 is signed with a key that is not known"),
        ([forged.replace(forger.public, sealing.signer().public), *whole[1:]], "Checkpoint 1 was altered"),
        ([whole[0], "nonsense\n"], "is not a checkpoint"),
    ]:
        file.write_text("".join(lines))
        assert says in refused(*check)
    file.write_text("")
    assert "holds no checkpoints" in refused(*check)
    file.write_text("".join(whole))
    assert command(*check)["checkpoints"] == 3
    (kept / "keys").unlink()
    assert "No public key is known" in refused(*check)
    assert command(*check, "--key", sealing.signer().public)["whole"]


def test_a_database_that_was_put_back_is_found_by_the_folder(world: World, kept: Path) -> None:
    seal()
    folder = outside.Folder(kept)
    position = folder.position
    folder.reached(position + 10)  # the folder has seen rows that the database does not have any more
    with pytest.raises(Exception, match="older copy"):
        sealing.publish()
    folder.reached(position)
