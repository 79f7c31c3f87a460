"""Google Cloud KMS: its REST interface (v1) with the context as additional authenticated data, checksums both ways."""

from __future__ import annotations

import logging
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cached_property, lru_cache
from threading import Lock
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from providers.errors import ToolError
from vault.crypto import Context, Unreadable, canonical
from vault.keks import remote

try:
    import google.auth
    from google.auth.exceptions import GoogleAuthError, TransportError
except ImportError:
    raise ImproperlyConfigured("VAULT_KEK=gcp-kms:… needs google-auth. Run: pip install metaagent[gcp]") from None

_PART = r"[A-Za-z0-9_.:-]{1,100}"
_KEY = re.compile(rf"projects/{_PART}/locations/{_PART}/keyRings/{_PART}/cryptoKeys/{_PART}")
_SCOPE = "https://www.googleapis.com/auth/cloudkms"

logging.getLogger("google").setLevel(logging.WARNING)  # below that it may print requests with credentials


class GcpKms:
    """One symmetric key of Cloud KMS. Credentials as google-auth finds them."""

    def __init__(self, resource: str) -> None:
        if not _KEY.fullmatch(resource):
            raise ImproperlyConfigured(
                "VAULT_KEK=gcp-kms:… must name a key: gcp-kms:projects/…/locations/…/keyRings/…/cryptoKeys/…"
            )
        self._resource = resource
        self._url = f"{remote.address('GCP_KMS_ENDPOINT', settings.GCP_KMS_ENDPOINT)}/v1/{resource}"
        self._service = remote.Service("Cloud KMS")
        self._lock = Lock()

    @property
    def uri(self) -> str:
        """`gcp-kms:` and the key's resource name."""
        return f"gcp-kms:{self._resource}"

    def holds(self, uri: str) -> bool:
        """Exactly this key; its versions are Google's matter."""
        return uri == self.uri

    def wrap(self, key: bytes, context: Context) -> tuple[str, bytes]:
        """`:encrypt`."""
        return self.uri, self._service.ask(lambda: self._encrypt(key, canonical(context)))

    def unwrap(self, uri: str, wrapped: bytes, context: Context) -> bytes:
        """`:decrypt`."""
        if not self.holds(uri) or not wrapped:
            raise Unreadable
        return self._service.ask(lambda: self._decrypt(wrapped, canonical(context)))

    def _encrypt(self, key: bytes, bound: bytes) -> bytes:
        answer = self._post("encrypt", plaintext=key, additionalAuthenticatedData=bound)
        blob = self._checked(answer, "ciphertext")
        arrived = answer.get("verifiedPlaintextCrc32c"), answer.get("verifiedAdditionalAuthenticatedDataCrc32c")
        if arrived != (True, True):
            raise self._service.failed("did not receive what was sent")
        if not str(answer.get("name")).startswith(f"{self._resource}/cryptoKeyVersions/"):
            raise self._service.failed("answered for another key")
        return blob

    def _decrypt(self, wrapped: bytes, bound: bytes) -> bytes:
        answer = self._post("decrypt", ciphertext=wrapped, additionalAuthenticatedData=bound)
        return self._service.key(self._checked(answer, "plaintext"))

    def _checked(self, answer: Mapping[str, Any], field: str) -> bytes:
        """One field of an answer whose checksum matches."""
        found = self._service.decoded(answer.get(field))
        if not found or str(answer.get(f"{field}Crc32c")) != str(crc32c(found)):
            raise self._service.failed("answered with a checksum that does not match")
        return found

    def _post(self, verb: str, **given: bytes) -> dict[str, Any]:
        """Raises: Unreadable, KeysUnavailable."""
        body = {name: b64encode(value).decode() for name, value in given.items()}
        body |= {f"{name}Crc32c": str(crc32c(value)) for name, value in given.items()}
        headers = {"content-type": "application/json"}
        try:
            with self._lock:  # one renewal for all who wait
                if not self._credentials.valid:
                    self._credentials.refresh(_carry)
                self._credentials.apply(headers)
        except GoogleAuthError as failed:
            raise self._service.failed(f"could not be asked ({type(failed).__name__})") from None
        status, answer = self._service.post(f"{self._url}:{verb}", body, headers)
        if status == 200:  # noqa: PLR2004 - the one good answer
            return answer
        error = answer.get("error")
        word, text = (error.get("status"), error.get("message")) if isinstance(error, dict) else (status, "")
        # The same status stands for a checksum or a name that is wrong: only this says that the ciphertext is.
        if verb == "decrypt" and word == "INVALID_ARGUMENT" and str(text).startswith("Decryption failed"):
            raise Unreadable
        raise self._service.refused(word)

    @cached_property
    def _credentials(self) -> Any:  # noqa: ANN401 - google-auth is typed in parts
        """Found by the first call, in its thread: finding them may ask the network."""
        found, _project = google.auth.default(scopes=[_SCOPE], request=cast("Any", _carry))
        return found


class _Reply(NamedTuple):
    """What google-auth wants to see of an answer."""

    status: int
    headers: Mapping[str, str]
    data: bytes


def _carry(
    url: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None, **_: object
) -> _Reply:
    """The way out for google-auth (its `transport.Request`)."""
    try:
        reply = remote.send(method, url, headers=headers or {}, content=body)
    except ToolError as failed:
        raise TransportError(failed) from None  # type: ignore[no-untyped-call]
    return _Reply(reply.status_code, reply.headers, reply.content)


@lru_cache(maxsize=1)
def _table() -> tuple[int, ...]:
    rows = []
    for number in range(256):
        row = number
        for _ in range(8):
            row = row >> 1 ^ (0x82F63B78 if row & 1 else 0)
        rows.append(row)
    return tuple(rows)


def crc32c(data: bytes) -> int:
    """The checksum of RFC 3720 appendix B.4 (Castagnoli), which is not zlib's."""
    table, value = _table(), 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
