"""Requests byte by byte: what no client library would send."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from email.message import Message
from http.client import HTTPResponse
from urllib.parse import urlsplit

from tests.world import Served


def answer_to(served: Served, parts: Iterable[bytes]) -> tuple[int, Message, bytes]:
    """Send the parts one after the other and read the answer, though it comes before the end: status, headers, body."""
    url = urlsplit(served.url)
    with socket.create_connection((url.hostname, url.port), timeout=20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # it has heard enough
            for part in parts:
                sock.sendall(part)
        answer = HTTPResponse(sock)
        answer.begin()
        return answer.status, answer.headers, answer.read()


def head(served: Served, path: str, *lines: str, method: str = "POST") -> bytes:
    """A request line and headers, the right Host among them."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {urlsplit(served.url).netloc}", *lines, "", ""]).encode(
        "latin-1"
    )
