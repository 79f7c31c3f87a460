"""What every command of ours shares: one object with `--json`, plain text without, one line when something is wrong."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from providers import selectors as providers
from providers.models import Installation
from tenants import selectors as tenants
from tenants.models import Tenant, User
from tenants.services import Refused
from vault.services.keys import KeysUnavailable

Found = dict[str, Any]


class Answering(BaseCommand):
    """A command that does one thing and says what came of it.

    Exit codes: 0 done, 2 bad arguments, 1 anything else.
    """

    requires_system_checks = ()  # `check` and `migrate` make them; here they would load every page

    def add_arguments(self, parser: CommandParser) -> None:
        """Subclasses add theirs in `arguments`."""
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        self.arguments(parser)

    def arguments(self, parser: CommandParser) -> None:
        """The command's own arguments."""

    def work(self, **options: Any) -> Found:  # noqa: ANN401 - Django's options
        """Do it. The answer may hold `text`, which is what people read. Raises: Refused."""
        raise NotImplementedError

    def handle(self, *_args: str, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        """Run `work` and print its answer."""
        try:
            found = self.work(**options)
        except Refused as refused:
            self._fail(str(refused))
        except DatabaseError as broken:
            self._fail(_database_sentence(broken))
        except KeysUnavailable as closed:
            self._fail(f"{closed} Nothing was stored.")
        except (ImproperlyConfigured, OSError) as wrong:
            self._fail(str(wrong))
        text = found.pop("text", "")
        if options["json"]:
            self.stdout.write(json.dumps(found, default=str))
            if text:
                self.stderr.write(text)
        else:
            self.stdout.write(text or json.dumps(found, default=str, indent=2))

    def _fail(self, sentence: str) -> NoReturn:
        raise CommandError(sentence, returncode=1)


def _database_sentence(broken: DatabaseError) -> str:
    words = str(broken).lower()
    if "no such table" in words or "does not exist" in words:
        return "The database has no tables yet. Run: python manage.py migrate"
    if "disk is full" in words or "no space" in words or "full" in words:
        return "The disk is full. Nothing was stored. Make room and run this again."
    return "The database cannot be used now. Nothing was stored. Check DATABASE_URL and that it runs."


def tenant_named(slug: str, *, closed: bool = False) -> Tenant:
    """The tenant; one that is being removed only when `closed` is said. Raises: Refused."""
    found = tenants.tenant(slug, closed=closed)
    if found is None:
        raise Refused(f"There is no tenant “{slug[:40]}”. Make it with: manage.py tenant_create {slug[:40]}")
    return found


def installation_named(tenant: Tenant, slug: str) -> Installation:
    """What the tenant has installed, switched off or not. Raises: Refused."""
    found = providers.installed(tenant.pk).filter(slug=slug).first()
    if found is None:
        raise Refused(f"{tenant.slug} does not export “{slug[:40]}”.")
    return found


def user_named(email: str) -> User:
    """The person. Raises: Refused."""
    found = User.objects.filter(email=email.strip().lower()).first()
    if found is None:
        raise Refused(f"There is no user “{email[:80]}”. Make one with: manage.py user_create {email[:80]}")
    return found


def secret_from_stdin(what: str) -> str:
    """One line from standard input, so that it is in no process list. Raises: Refused when there is none."""
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise Refused(f"Standard input holds no {what}.")
    return line
