"""Asking a key service: hard limits in time and size, one more try at most, a pause after a failure."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from ipaddress import ip_network
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
from django.core.exceptions import ImproperlyConfigured

from providers.egress import EgressPolicy, GuardedTransport, Limits
from providers.errors import ToolError
from vault.crypto import KeysUnavailable, Unreadable

T = TypeVar("T")

CONNECT_S, TOTAL_S = 3.0, 5.0
PAUSE_S = 1.0
"""How long a service that has just failed is not asked again: thousands of callers must not each wait for it."""
_LIMITS = Limits(connect_s=CONNECT_S, first_byte_s=TOTAL_S, total_s=TOTAL_S, max_wire_bytes=65_536, max_depth=16)
_ANYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_PASSING = frozenset({429, 500, 502, 503, 504})

log = logging.getLogger(__name__)


class Service:
    """One key service as this process sees it. `name` is what operators call it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pause_until = 0.0

    def ask(self, work: Callable[[], T]) -> T:
        """What `work` gives, within `TOTAL_S`. Raises: Unreadable from `work`; KeysUnavailable for everything else.

        In a thread of its own: name look-ups, credentials and an answer that drips are bounded by no library's
        time-outs together, and the caller may run an event loop.
        """
        if time.monotonic() < self._pause_until:
            raise self.failed("did not answer a moment ago")
        answer: Future[T] = Future()
        Thread(target=_settle, args=(answer, work), name="kek", daemon=True).start()
        try:
            return answer.result(TOTAL_S)
        except Unreadable:
            raise
        except TimeoutError:
            failure = self.failed(f"did not answer within {TOTAL_S:g} seconds")
        except KeysUnavailable as unavailable:
            failure = unavailable
        except Exception as unforeseen:  # noqa: BLE001 - a library's surprise is an outage, never a damaged token
            failure = self.failed(f"could not be asked ({type(unforeseen).__name__})")
        self._pause_until = time.monotonic() + PAUSE_S
        log.error("%s", failure)
        raise failure from None

    def failed(self, what: str) -> KeysUnavailable:
        """The failure in one sentence."""
        return KeysUnavailable(f"{self.name} {what}.")

    def refused(self, why: object) -> KeysUnavailable:
        """It answered with an error; `why` is its code, of which only what looks like one is repeated."""
        code = str(why)
        return self.failed(f"refused: {code if re.fullmatch(r'[A-Za-z0-9_.]{1,60}', code) else 'an unknown error'}")

    def post(
        self, url: str, body: Mapping[str, Any], headers: Mapping[str, str], tls: ssl.SSLContext | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of one POST; tried once more when it did not arrive or the service was unwell.

        Raises: KeysUnavailable.
        """
        for last in (False, True):
            try:
                reply = send("POST", url, headers=headers, content=json.dumps(body).encode(), tls=tls)
            except ToolError:
                if last:
                    raise self.failed("could not be reached") from None
                continue
            if last or reply.status_code not in _PASSING:
                break
        try:
            found = json.loads(reply.content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self.failed(f"answered {reply.status_code} with something that is not JSON")
        return reply.status_code, found

    def decoded(self, text: object) -> bytes:
        """Base64 of an answer. Raises: KeysUnavailable."""
        try:
            return base64.b64decode(str(text), validate=True)
        except (binascii.Error, ValueError):
            raise self.failed("answered something that is not base64") from None

    def key(self, plain: object) -> bytes:
        """An unwrapped data key. Raises: KeysUnavailable when it cannot be one."""
        if not isinstance(plain, bytes) or len(plain) != 32:  # noqa: PLR2004 - AES-256
            raise self.failed("answered something that is not a key")
        return plain


def _settle(answer: Future[T], work: Callable[[], T]) -> None:
    try:
        answer.set_result(work())
    except BaseException as failed:  # noqa: BLE001 - raised again where it is waited for
        answer.set_exception(failed)


def send(
    method: str, url: str, *, headers: Mapping[str, str], content: bytes | None, tls: ssl.SSLContext | None = None
) -> httpx2.Response:
    """One request to an address the operator chose, so to any address; size and time are bounded. Raises: ToolError."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    policy = EgressPolicy(
        allow_cidrs=_ANYWHERE, allow_http_hosts=frozenset({f"{parts.hostname}:{port}"}), limits=_LIMITS
    )
    with httpx2.Client(transport=GuardedTransport(policy, tls=tls)) as client:
        return client.request(method, url, headers=dict(headers), content=content)


def address(setting: str, url: str) -> str:
    """An https address, or a plain one on this machine. Raises: ImproperlyConfigured."""
    parts = urlsplit(url)
    here = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    if not parts.hostname or parts.query or parts.scheme not in ({"https", "http"} if here else {"https"}):
        raise ImproperlyConfigured(f"{setting} must be an address such as https://keys.example.com.")
    return url.rstrip("/")
