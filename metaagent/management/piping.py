"""What the commands that answer line by line share as commands of Django."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from metaagent.management.piped import COMMANDS, answer_lines, complaint


class Piping(BaseCommand):
    """Reads JSON objects from standard input and answers each, in order and at once.

    Exit codes: 0 every line was answered, 2 bad arguments, 1 some lines could not be.
    """

    requires_system_checks = ()
    name: ClassVar[str]
    """One of `piped.COMMANDS`."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Only what every command takes."""
        parser.add_argument("--json", action="store_true", help="as without: the answers are JSON, one a line")

    def handle(self, *_args: str, **_options: Any) -> None:  # noqa: ANN401 - Django's signature
        """Until the input ends."""
        bad = answer_lines(sys.stdin.buffer, self.stdout, COMMANDS[self.name]())
        if bad:
            raise CommandError(complaint(bad), returncode=1)
