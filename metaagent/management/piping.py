"""What the commands that answer line by line share."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from metaagent.management.piped import Answer, Message, answer_lines


class Piping(BaseCommand):
    """Reads JSON objects from standard input and answers each, in order and at once.

    Exit codes: 0 every line was answered, 2 bad arguments, 1 some lines could not be.
    """

    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Only what every command takes."""
        parser.add_argument("--json", action="store_true", help="as without: the answers are JSON, one a line")

    def answer(self, message: Message) -> Answer:
        """Answer one message. Raises: BadMessage."""
        raise NotImplementedError

    def handle(self, *_args: str, **_options: Any) -> None:  # noqa: ANN401 - Django's signature
        """Until the input ends."""
        bad = answer_lines(sys.stdin.buffer, self.stdout, self.answer)
        if bad:
            raise CommandError(f"{bad} line{'' if bad == 1 else 's'} could not be answered.", returncode=1)
