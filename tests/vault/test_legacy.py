"""What django-fernet-fields sealed comes over: every way it derived its keys, every way a dump writes it."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.core.management import CommandError, call_command

from tests.world import World
from vault.legacy import Unreadable, as_dumped, open_fernet_field
from vault.models import Connection
from vault.services.sealed import open_token

KEY, OLDER = "django-insecure-(x1$", "another setting, with a space"
RAW = Fernet.generate_key().decode()


def sealed(key: str, text: str, *, hkdf: bool = True) -> bytes:
    """As `EncryptedTextField.get_db_prep_save` of django-fernet-fields 0.6 writes it."""
    if not hkdf:
        return Fernet(key).encrypt(text.encode())
    salt, info = b"django-fernet-fields-hkdf-salt", b"django-fernet-fields"
    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(key.encode())
    return Fernet(base64.urlsafe_b64encode(derived)).encrypt(text.encode())


def test_a_value_opens_with_any_key_of_the_ring_derived_or_not() -> None:
    for ring in ([KEY], [RAW], [OLDER, KEY], [KEY, RAW]):
        for key in ring:
            assert open_fernet_field(ring, sealed(key, "tøken")) == "tøken".encode()
    assert open_fernet_field([KEY, RAW], sealed(RAW, "t", hkdf=False)) == b"t"


def test_a_value_of_another_ring_or_one_that_was_altered_does_not_open() -> None:
    good = sealed(KEY, "token")
    for keys, blob in (([OLDER], good), ([], good), ([KEY], good[:-4] + b"AAAA"), ([KEY], good[:30]), ([KEY], b"")):
        with pytest.raises(Unreadable):
            open_fernet_field(keys, blob)


def test_a_value_is_read_however_the_dump_writes_it() -> None:
    blob = sealed(KEY, "token")
    for text in (blob.decode(), f" {blob.decode()}\n", "\\x" + blob.hex(), base64.b64encode(blob).decode()):
        assert as_dumped(text) == blob
    for text in ("", "\\xzz", "a token in plain text", "gøöd", base64.b64encode(b"not a token").decode()):
        with pytest.raises(Unreadable):
            as_dumped(text)


def run(monkeypatch: pytest.MonkeyPatch, world: World, *lines: Any) -> tuple[dict[str, Any], str, int]:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        call_command("vault_import_fernet", world.tenant.slug, "sentry", "--json", stdout=out, stderr=err)
    except CommandError as failed:
        code = failed.returncode
        err.write(str(failed))
    return json.loads(out.getvalue()), err.getvalue(), code


def test_accounts_come_over_and_a_bad_line_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given = world.connect()
    access, refresh = (open_token(given, given.tokens, field) for field in ("access", "refresh"))
    Connection.objects.filter(pk=given.pk).delete()
    assert world.error("who am I?")["code"] == "needs_auth"
    monkeypatch.setenv("FERNET_KEYS", f"{OLDER}\n{KEY}\n")
    email = world.me.user.email
    good = {
        "email": email,
        "access_token": sealed(KEY, access).decode(),
        "refresh_token": "\\x" + sealed(OLDER, refresh).hex(),
        "expires_in": 3_600,
        "account_id": given.account_id,
        "account_label": "Ann",
    }
    found, err, code = run(
        monkeypatch,
        world,
        {**good, "access_token": sealed("not in the ring", access).decode()},
        {**good, "email": "nobody@example.com"},
        "not json",
        "",
        {**good, "access_token": access},
        {"access_token": "x"},
        good,
    )
    assert code == 1
    assert [failure["line"] for failure in found["failed"]] == [1, 2, 3, 5, 6]
    assert "line 1: access_token does not open with FERNET_KEYS." in err
    assert [done["email"] for done in found["imported"]] == [email]
    assert access not in err + json.dumps(found)
    assert not world.ask("who am I?").is_error

    row = Connection.objects.get(owner=world.me.user, tenant=world.tenant)
    assert (open_token(row, row.tokens, "access"), open_token(row, row.tokens, "refresh")) == (access, refresh)
    assert run(monkeypatch, world, {**good, "refresh_token": None})[2] == 0


def test_without_the_old_keys_nothing_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FERNET_KEYS", raising=False)
    with pytest.raises(CommandError, match="FERNET_KEYS is missing"):
        call_command("vault_import_fernet", world.tenant.slug, "sentry")
