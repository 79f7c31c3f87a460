"""Commands that go on past what fails: the answer says what was done, the exit code that something was not."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from metaagent.management.answering import Answering


class Partly(Answering):
    """A command whose `work` may leave a sentence in `undone`; it then ends with 1 after its answer."""

    undone = ""

    def handle(self, *args: str, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        """Run `work`, print its answer, and fail if not all was done."""
        super().handle(*args, **options)
        if self.undone:
            raise CommandError(self.undone, returncode=1)
