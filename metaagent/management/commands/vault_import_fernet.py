"""`vault_import_fernet TENANT SLUG`: move tokens here that `django-fernet-fields` sealed elsewhere."""

import sys
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from metaagent import environment
from metaagent.management.answering import Found, tenant_named, user_named
from metaagent.management.partly import Partly
from providers import selectors
from providers.models import Installation
from tenants.services import Refused
from vault.legacy import Unreadable, as_dumped, open_fernet_field
from vault.services import import_

_SEALED = ("access_token", "refresh_token")


class Command(Partly):
    """Import tokens sealed by django-fernet-fields."""

    help = (
        "Keep tokens that django-fernet-fields sealed elsewhere. Standard input holds one JSON object a line: email, "
        "access_token, and where there are any refresh_token, expires_in or expires_at, scope, account_id, "
        "account_label; the tokens as the database dump has them. FERNET_KEYS (or FERNET_KEYS_FILE) holds the keys as "
        "the old settings have them, one a line."
    )

    def arguments(self, parser: CommandParser) -> None:
        """Where they become connections."""
        parser.add_argument("tenant")
        parser.add_argument("slug")

    def work(self, **options: Any) -> Found:
        """Import line by line: one that is wrong is named, and keeps no other from being imported."""
        tenant = tenant_named(options["tenant"])
        installation = selectors.installation(tenant.pk, options["slug"])
        if installation is None:
            raise Refused(f"{tenant.slug} does not export “{options['slug'][:40]}”.")
        keys = [key for line in environment.text("FERNET_KEYS").splitlines() if (key := line.strip())]
        if not keys:
            raise Refused("FERNET_KEYS is missing. Set it, or FERNET_KEYS_FILE, to the old settings' keys, one a line.")
        imported, failed = [], []
        for number, line in enumerate(sys.stdin, start=1):
            if not line.strip():
                continue
            try:
                imported.append(_import(installation, line.strip().encode(), keys))
            except Refused as wrong:
                failed.append({"line": number, "why": str(wrong)})
                self.stderr.write(f"line {number}: {wrong}")
        if failed:
            self.undone = f"{len(failed)} of {len(failed) + len(imported)} lines could not be imported."
        return {"imported": imported, "failed": failed, "text": f"{len(imported)} accounts were imported."}


def _import(installation: Installation, line: bytes, keys: list[str]) -> dict[str, str]:
    """Raises: Refused."""
    given = import_.read(line)
    email = given.pop("email", None)
    if not isinstance(email, str):
        raise Refused("email is missing.")
    owner = user_named(email)
    for name in _SEALED:
        if given.get(name):
            given[name] = _opened(name, given[name], keys)
        else:
            given.pop(name, None)
    row = import_.import_tokens(installation=installation, owner=owner, given=given, by=None, now=datetime.now(UTC))
    return {"id": str(row.pk), "email": owner.email, "account_id": row.account_id}


def _opened(name: str, sealed: object, keys: list[str]) -> str:
    """Raises: Refused."""
    try:
        return open_fernet_field(keys, as_dumped(str(sealed))).decode()
    except (Unreadable, UnicodeDecodeError):
        raise Refused(f"{name} does not open with FERNET_KEYS.") from None
