"""Key services that speak the vendors' wire protocols strictly, for what cannot be had on this machine.

Each checks method, path, headers, fields, base64 and the authenticated context, encrypts for real, and answers errors
in the vendor's own shape. What a client did wrong is in `wrong`, which every test finds empty.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.keks.gcp import crc32c

Answer = tuple[int, Any]


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class StandIn:
    """A key service on a port of its own. `fault`: one of `FAULTS`, or how it breaks."""

    FAULTS: ClassVar[dict[str, Answer]] = {}

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.wrong: list[str] = []
        self.lies: dict[str, Any] = {}
        """Fields of a good answer that come out wrong."""
        self.fault = ""
        self.times = 10**9
        """How often the fault strikes."""
        self.gate = threading.Event()
        """Set: answers come. What hangs waits for it."""
        self.gate.set()
        self.master = AESGCM(AESGCM.generate_key(256))
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def _any(self) -> None:
                stand_in._serve(self)

            do_GET = do_POST = do_PUT = _any  # noqa: N815 - the library's names

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def failing(self, fault: str, times: int = 10**9) -> Iterator[None]:
        """Fail in one way for a while."""
        self.fault, self.times = fault, times
        if fault == "hang":
            self.gate.clear()
        try:
            yield
        finally:
            self.fault = ""
            self.gate.set()

    def answer(self, request: Request) -> Answer:
        raise NotImplementedError

    def check(self, good: object, what: str) -> None:
        """Note what a client did that the vendor would refuse."""
        if not good:
            self.wrong.append(what)

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self.master.encrypt(nonce, plain, context)

    def decrypt(self, blob: bytes, context: bytes) -> bytes | None:
        try:
            return self.master.decrypt(blob[:12], blob[12:], context)
        except (InvalidTag, ValueError):
            return None

    def unbase64(self, text: Any, what: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError, TypeError):
            self.check(good=False, what=f"{what} is not base64")
            return b""

    def _serve(self, http: BaseHTTPRequestHandler) -> None:
        length = int(http.headers.get("content-length") or 0)
        headers = {name.lower(): value for name, value in http.headers.items()}
        request = Request(http.command, http.path, headers, http.rfile.read(length))
        self.requests.append(request)
        self.gate.wait(30)
        fault, self.times = self.fault if self.times > 0 else "", self.times - 1
        if fault == "cut":
            http.close_connection = True
            return
        if fault in self.FAULTS:
            status, found = self.FAULTS[fault]
        elif fault == "garbage":
            status, found = 200, b"\xff<html>not what you asked for</html>"
        elif fault == "empty":
            status, found = 200, {}
        elif fault == "redirect":
            status, found = 307, b""
        else:
            status, found = self.answer(request)
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        try:
            http.send_response(status)
            http.send_header("content-type", "application/json")
            if status == 307:
                http.send_header("location", f"{self.url}/elsewhere")
            http.send_header("content-length", str(len(body) if fault != "drip" else 60_000))
            http.end_headers()
            while fault == "drip" and self.fault == "drip":  # never long silent, and never done
                http.wfile.write(b" ")
                threading.Event().wait(0.02)
            http.wfile.write(body)
        except OSError:  # who hung up does not hear the answer
            http.close_connection = True


class TransitStandIn(StandIn):
    """HashiCorp Vault 1.x with one aes256-gcm96 key, `k`, in the mount `transit`."""

    FAULTS: ClassVar = {
        "denied": (403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}),
        "sealed": (503, {"errors": ["Vault is sealed"]}),
        "no key": (400, {"errors": ["encryption key not found"]}),
        "too old": (400, {"errors": ["ciphertext or signature version is disallowed by policy (too old)"]}),
        "too new": (400, {"errors": ["invalid ciphertext: version is too new"]}),
        "no mount": (404, {"errors": ['no handler for route "transit/decrypt/k". route entry not found.']}),
        "internal": (500, {"errors": ["internal error"]}),
    }
    token = "hvs.stand-in-token"
    namespace = ""
    binds = True
    """False: a Vault that ignores associated data, as those before it was introduced do."""

    def answer(self, request: Request) -> Answer:
        self.check(request.method in {"POST", "PUT"}, f"method {request.method}")
        self.check(request.headers.get("content-type") == "application/json", "content type")
        self.check(request.headers.get("x-vault-request") == "true", "X-Vault-Request")
        self.check(request.headers.get("x-vault-namespace", "") == self.namespace, "namespace")
        if request.headers.get("x-vault-token") != self.token:
            return self.FAULTS["denied"]
        found = re.fullmatch(r"/v1/transit/(encrypt|decrypt)/(\w+)", request.path)
        if found is None:
            return self.FAULTS["no mount"]
        if found[2] != "k":
            return self.FAULTS["no key"]
        body = json.loads(request.body)
        context = self.unbase64(body.pop("associated_data"), "associated_data") if self.binds else b""
        if found[1] == "encrypt":
            plain = self.unbase64(body.pop("plaintext"), "plaintext")
            text = f"vault:v1:{base64.b64encode(self.encrypt(plain, context)).decode()}"
            data: dict[str, Any] = {"ciphertext": text, "key_version": 1}
        else:
            head, version, text = body.pop("ciphertext").split(":", 2)
            self.check((head, version) == ("vault", "v1"), "ciphertext's head")
            opened = self.decrypt(self.unbase64(text, "ciphertext"), context)
            if opened is None:
                return 400, {"errors": ["cipher: message authentication failed"]}
            data = {"plaintext": base64.b64encode(opened).decode()}
        self.check(not body or not self.binds, f"unknown fields {set(body)}")
        return 200, {
            "request_id": "9e5d8c1c-0a4b-4c5d-8d8e-6f3a2b1c0d9e",
            "lease_id": "",
            "renewable": False,
            "lease_duration": 0,
            "data": data,
            "wrap_info": None,
            "warnings": None,
            "auth": None,
            "mount_type": "transit",
        }


def _google(code: int, status: str, message: str) -> Answer:
    return code, {"error": {"code": code, "message": message, "status": status}}


class GcpStandIn(StandIn):
    """Cloud KMS and Google's token endpoint, for one service account and one key."""

    RESOURCE = "projects/p-1/locations/europe-west3/keyRings/r/cryptoKeys/k"
    FAULTS: ClassVar = {
        "denied": _google(
            403, "PERMISSION_DENIED", "Permission 'cloudkms.cryptoKeyVersions.useToDecrypt' denied on resource"
        ),
        "disabled": _google(400, "FAILED_PRECONDITION", "CryptoKeyVersion is not enabled, current state is: DISABLED."),
        "no key": _google(404, "NOT_FOUND", "CryptoKey not found."),
        "checksum": _google(
            400, "INVALID_ARGUMENT", "The checksum in field ciphertext_crc32c did not match the data in field."
        ),
        "unavailable": _google(503, "UNAVAILABLE", "The service is currently unavailable."),
        "throttled": _google(429, "RESOURCE_EXHAUSTED", "Quota exceeded."),
        "internal": _google(500, "INTERNAL", "Internal error encountered."),
    }

    def __init__(self) -> None:
        super().__init__()
        self._secret = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        self._tokens: set[str] = set()

    def credentials(self, folder: Path) -> Path:
        """A service account's key file."""
        pem = self._secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = folder / "account.json"
        account = {
            "type": "service_account",
            "project_id": "p-1",
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": "agent@p-1.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"{self.url}/token",
        }
        path.write_text(json.dumps(account))
        return path

    def answer(self, request: Request) -> Answer:
        self.check(request.method == "POST", f"method {request.method}")
        if request.path == "/token":
            return self._token(request)
        self.check(request.headers.get("content-type") == "application/json", "content type")
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self._tokens:
            return _google(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        found = re.fullmatch(rf"/v1/({re.escape(self.RESOURCE)}):(encrypt|decrypt)", request.path)
        if found is None:
            return self.FAULTS["no key"]
        given = json.loads(request.body)
        source = "plaintext" if found[2] == "encrypt" else "ciphertext"
        self.check(
            set(given)
            == {
                source,
                f"{source}Crc32c",
                "additionalAuthenticatedData",
                "additionalAuthenticatedDataCrc32c",
            },
            f"fields {set(given)}",
        )
        value, context = self._field(given, source), self._field(given, "additionalAuthenticatedData")
        if found[2] == "encrypt":
            blob = self.encrypt(value, context)
            answer = {
                "name": f"{self.RESOURCE}/cryptoKeyVersions/1",
                "ciphertext": base64.b64encode(blob).decode(),
                "ciphertextCrc32c": str(crc32c(blob)),
                "verifiedPlaintextCrc32c": True,
                "verifiedAdditionalAuthenticatedDataCrc32c": True,
                "protectionLevel": "SOFTWARE",
            }
        else:
            plain = self.decrypt(value, context)
            if plain is None:
                return _google(400, "INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid.")
            answer = {
                "plaintext": base64.b64encode(plain).decode(),
                "plaintextCrc32c": str(crc32c(plain)),
                "usedPrimary": True,
                "protectionLevel": "SOFTWARE",
            }
        return 200, answer | self.lies

    def _field(self, given: dict[str, Any], name: str) -> bytes:
        value = self.unbase64(given.get(name), name)
        self.check(given.get(f"{name}Crc32c") == str(crc32c(value)), f"checksum of {name}")
        return value

    def _token(self, request: Request) -> Answer:
        """RFC 7523: the assertion is a signed JWT, for this endpoint and the scope of Cloud KMS."""
        from urllib.parse import parse_qs

        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        self.check(form.get("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer", "grant type")
        signed, _, signature = form.get("assertion", "").rpartition(".")
        padded = [part + "=" * (-len(part) % 4) for part in (*signed.split("."), signature)]
        _head, claims, mark = (base64.urlsafe_b64decode(part) for part in padded)
        try:
            self._secret.public_key().verify(mark, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            self.check(good=False, what="the assertion's signature")
        said = json.loads(claims)
        self.check(said["aud"] == "https://oauth2.googleapis.com/token", "the assertion's audience")
        self.check(said["scope"] == "https://www.googleapis.com/auth/cloudkms", "the assertion's scope")
        token = f"ya29.{os.urandom(8).hex()}"
        self._tokens.add(token)
        return 200, {"access_token": token, "expires_in": 3_599, "token_type": "Bearer"}


class AwsStandIn(StandIn):
    """AWS KMS (JSON 1.1), for what moto leaves out: keys that are disabled, permissions that are missing."""

    ARN = "arn:aws:kms:eu-central-1:111122223333:key/0a1b2c3d-0000-4000-8000-000000000001"
    FAULTS: ClassVar = {
        "denied": (
            400,
            {"__type": "AccessDeniedException", "Message": "User is not authorized to perform: kms:Decrypt"},
        ),
        "disabled": (400, {"__type": "DisabledException", "message": "is disabled."}),
        "deleted": (400, {"__type": "KMSInvalidStateException", "message": "is pending deletion."}),
        "no key": (400, {"__type": "NotFoundException", "message": "does not exist"}),
        "throttled": (400, {"__type": "ThrottlingException", "message": "Rate exceeded"}),
        "internal": (500, {"__type": "KMSInternalException", "message": "internal"}),
        "strange": (400, {"__type": "com.amazon#<script>alert(1)</script>"}),
    }

    def answer(self, request: Request) -> Answer:
        self.check((request.method, request.path) == ("POST", "/"), f"{request.method} {request.path}")
        self.check(request.headers.get("content-type") == "application/x-amz-json-1.1", "content type")
        signed = request.headers.get("authorization", "")
        self.check(
            re.match(r"AWS4-HMAC-SHA256 Credential=\w+/\d{8}/eu-central-1/kms/aws4_request, ", signed), "signature"
        )
        body = json.loads(request.body)
        self.check(body.pop("KeyId") == self.ARN, "KeyId")
        context = json.dumps(body.pop("EncryptionContext"), sort_keys=True).encode()
        match request.headers.get("x-amz-target"):
            case "TrentService.Encrypt":
                blob = self.encrypt(self.unbase64(body.pop("Plaintext"), "Plaintext"), context)
                answer = {"CiphertextBlob": base64.b64encode(blob).decode()}
            case "TrentService.Decrypt":
                plain = self.decrypt(self.unbase64(body.pop("CiphertextBlob"), "CiphertextBlob"), context)
                if plain is None:
                    return 400, {"__type": "InvalidCiphertextException"}
                answer = {"Plaintext": base64.b64encode(plain).decode()}
            case _:
                return 400, {"__type": "UnknownOperationException"}
        self.check(not body, f"unknown fields {set(body)}")
        return 200, {"KeyId": self.ARN, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT", **answer, **self.lies}


def set_aws(patch: pytest.MonkeyPatch, url: str) -> None:
    """What boto3 reads from the environment, for a service at `url`."""
    for name, value in {
        "AWS_ENDPOINT_URL_KMS": url,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "made-up",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        patch.setenv(name, value)


@contextmanager
def moto_key(patch: pytest.MonkeyPatch) -> Iterator[str]:
    """AWS KMS as moto serves it, and the ARN of a new key there."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    set_aws(patch, f"http://{host}:{port}")
    try:
        yield boto3.client("kms", region_name="eu-central-1").create_key()["KeyMetadata"]["Arn"]
    finally:
        server.stop()
