"""`vault_rewrap`: wrap every data key with the KEK that VAULT_KEK names now; tokens are not touched."""

from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Found
from metaagent.management.partly import Partly
from vault.services import keys

_SAY_EVERY = 100


class Command(Partly):
    """Rewrap data keys."""

    help = (
        "Wrap every data key with the KEK that VAULT_KEK names now. What wrapped them before must be named in "
        "VAULT_KEK_OLD until this is done. Cut off, it is simply run again."
    )

    def arguments(self, parser: CommandParser) -> None:
        """Whether the key file gets a new key first."""
        parser.add_argument(
            "--new-local-key", action="store_true", help="first put a new primary key into the file of VAULT_KEK"
        )

    def work(self, **options: Any) -> Found:
        """Rewrap one by one; a key that does not open keeps no other from being wrapped."""
        if options["new_local_key"]:
            self.stderr.write(f"{keys.add_local_key()} is the key file's new primary key. Back the file up.")
        total, rewrapped, failed = len(keys.outdated()), 0, []
        for number, done in enumerate(keys.rewrap(), start=1):
            if done.failure:
                failed.append({"key": done.key.pk, "kek": done.key.kek_uri, "why": done.failure})
                self.stderr.write(f"{done.key.pk}, wrapped by {done.key.kek_uri}: {done.failure}")
            else:
                rewrapped += 1
            if number % _SAY_EVERY == 0:
                self.stderr.write(f"{number} of {total} data keys")
        if failed:
            self.undone = (
                f"{len(failed)} of {total} data keys are wrapped as before. Run this again when that is mended."
            )
        text = f"{rewrapped} data keys were wrapped anew." if total else "Every data key is wrapped by VAULT_KEK."
        return {"rewrapped": rewrapped, "failed": failed, "text": text}
