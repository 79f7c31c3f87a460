"""`manage.py sandbox` starts, says where it is, and says in one line when it cannot."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from providers.sandbox.app import PortTaken, bind, serving

ROOT = Path(__file__).parents[3]


def command(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "sandbox", *arguments],
        cwd=ROOT,
        env=os.environ | {"DEBUG": "1", "VAR_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_taken_port_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            bind(port)
        started = command(tmp_path, "--port", str(port))
        out, err = started.communicate(timeout=60)
    assert (started.returncode, out) == (1, "")
    assert err.count("\n") == 1
    assert f"Port {port} on 127.0.0.1 cannot be used" in err


def test_it_says_where_it_is_and_stops_when_asked(tmp_path: Path) -> None:
    redirect_uri = "http://127.0.0.1:9/callback"
    started = command(tmp_path, "--port", "0", "--json", "--access-ttl", "60", "--client", f"me:secret:{redirect_uri}")
    assert started.stdout
    told = json.loads(started.stdout.readline())
    assert [person["organizations"] for person in told["people"]] == [
        ["acme"],
        ["acme", "globex"],
        ["acme", "globex", "initech"],
    ]
    with httpx2.Client(base_url=told["url"], trust_env=False) as http:
        assert http.get("/_faults").json()["access_ttl_s"] == 60
        answer = http.get("/oauth/authorize/", params={"client_id": "me", "redirect_uri": redirect_uri})
        assert answer.headers["location"].startswith(f"{redirect_uri}?error=unsupported_response_type")
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=60)
    assert (started.returncode, out, err) == (0, "", "")


def test_a_bad_argument_is_exit_code_2(tmp_path: Path) -> None:
    started = command(tmp_path, "--client", "me:secret:ftp://x")
    _, err = started.communicate(timeout=60)
    assert started.returncode == 2
    assert "argument --client: write ID:SECRET:REDIRECT_URI" in err
    assert "Traceback" not in err


def test_only_the_loopback_address_listens() -> None:
    with serving() as url:
        assert url.startswith("http://127.0.0.1:")
        assert httpx2.get(f"{url}/_stats", trust_env=False).status_code == 200
