"""The rules of the house are executed: each contract stands, and notices a planted violation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("metaagent", "tenants", "vault", "providers", "audit")

PLANTED = [
    ("audit/events.py", "import tenants.models", "Layers"),
    ("tenants/keys.py", "import providers.spec", "Layers"),
    ("providers/services.py", "import vault.links", "Layers"),
    ("metaagent/agent/gate.py", "import metaagent.endpoint.render", "Layers"),
    ("metaagent/endpoint/auth.py", "import metaagent.wiring", "Layers"),
    ("metaagent/agent/gate.py", "import django.db", "know no Django"),
    ("metaagent/endpoint/app.py", "import tenants.selectors", "know no Django"),
    ("providers/spec.py", "import django", "know no Django"),
    ("providers/catalogue/sentry.py", "import providers.models", "know no Django"),
    ("metaagent/agent/service.py", "import mcp", "Only the endpoint speaks MCP"),
    ("metaagent/agent/service.py", "import anthropic", "Only metaagent.llm speaks to a model"),
    ("metaagent/endpoint/calls.py", "import metaagent.llm.claude", "Layers"),
    ("metaagent/wiring/__init__.py", "import vault.models", "inside stays inside"),
    ("metaagent/health.py", "import vault.sealing", "inside stays inside"),
]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(program), "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_the_house_keeps_its_rules(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("file", "line", "contract"), PLANTED)
def test_a_planted_violation_is_noticed(copy: Path, file: str, line: str, contract: str) -> None:
    path = copy / file
    before = path.read_text()
    try:
        path.write_text(f"{before}\n{line}  # planted\n")
        done = lint(copy)
    finally:
        path.write_text(before)
    assert done.returncode == 1
    broken = [text for text in done.stdout.splitlines() if "BROKEN" in text]
    assert any(contract in text for text in broken), broken


def test_catalogue_files_do_not_know_one_another(copy: Path) -> None:
    other = copy / "providers" / "catalogue" / "another.py"
    try:
        other.write_text('"""Planted."""\n\nimport providers.catalogue.sentry\n')
        done = lint(copy)
    finally:
        other.unlink()
    assert "Catalogue files do not know one another BROKEN" in done.stdout
