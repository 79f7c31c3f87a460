"""The `metaagent` program: the same commands as `manage.py`."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    """Run one command. Settings that cannot be used end it with one line and exit code 1."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "metaagent.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as wrong:
        sys.stderr.write(f"metaagent cannot start: {wrong}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
