"""AWS KMS: Encrypt and Decrypt with the context as encryption context, under one key named by its ARN."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from vault.crypto import Context, KeysUnavailable, Unreadable
from vault.keks import remote

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    raise ImproperlyConfigured("VAULT_KEK=aws-kms:… needs boto3. Run: pip install metaagent[aws]") from None

# A key, not an alias: an alias may be pointed elsewhere, and then nothing opens.
_ARN = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]{1,80}")
_CIPHERTEXT_BYTES = 6_144
_WRONG = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})

logging.getLogger("botocore").setLevel(logging.WARNING)  # below that it prints requests, which hold data keys


class AwsKms:
    """One symmetric key of AWS KMS. Credentials as boto3 finds them."""

    def __init__(self, arn: str) -> None:
        found = _ARN.fullmatch(arn)
        if found is None:
            raise ImproperlyConfigured(
                "VAULT_KEK=aws-kms:… must name a key by its ARN, such as "
                "aws-kms:arn:aws:kms:eu-central-1:111122223333:key/1234abcd-…, not an alias."
            )
        self._arn, self._region = arn, found[1]
        self._service = remote.Service("AWS KMS")

    @property
    def uri(self) -> str:
        """`aws-kms:` and the ARN."""
        return f"aws-kms:{self._arn}"

    def holds(self, uri: str) -> bool:
        """Exactly this key."""
        return uri == self.uri

    def wrap(self, key: bytes, context: Context) -> tuple[str, bytes]:
        """Encrypt."""

        def work() -> bytes:
            answer = self._call("encrypt", Plaintext=key, EncryptionContext=dict(context))
            blob = answer.get("CiphertextBlob")
            if not isinstance(blob, bytes) or not blob:
                raise self._service.failed("answered without a ciphertext")
            return blob

        return self.uri, self._service.ask(work)

    def unwrap(self, uri: str, wrapped: bytes, context: Context) -> bytes:
        """Decrypt; the key is named, so that nobody's own key can stand in for it."""
        if not self.holds(uri) or not 0 < len(wrapped) <= _CIPHERTEXT_BYTES:
            raise Unreadable

        def work() -> bytes:
            answer = self._call("decrypt", CiphertextBlob=wrapped, EncryptionContext=dict(context))
            return self._service.key(answer.get("Plaintext"))

        return self._service.ask(work)

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        """Made by the first call, in its thread: finding credentials may ask the network."""
        limits = Config(
            connect_timeout=remote.CONNECT_S,
            read_timeout=remote.TOTAL_S,
            retries={"total_max_attempts": 2, "mode": "standard"},
        )
        return boto3.session.Session().client("kms", region_name=self._region, config=limits)

    def _call(self, name: str, **given: object) -> Mapping[str, Any]:
        """Raises: Unreadable, KeysUnavailable."""
        try:
            answer: Mapping[str, Any] = getattr(self._client, name)(KeyId=self._arn, **given)
        except ClientError as error:
            raise self._failure(error.response.get("Error", {}).get("Code")) from None
        except BotoCoreError as error:
            raise self._service.failed(f"could not be asked ({type(error).__name__})") from None
        if answer.get("KeyId") != self._arn:
            raise self._service.failed("answered for another key")
        return answer

    def _failure(self, code: object) -> Unreadable | KeysUnavailable:
        return Unreadable() if code in _WRONG else self._service.refused(code)
