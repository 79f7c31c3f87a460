"""The `metaagent` program: the same commands as `manage.py`."""

import os
import sys

_ALONE = ("agent_rank", "agent_route")
"""Commands that need neither Django nor settings, and so start at once and anywhere."""


def main() -> None:
    """Run one command. Settings that cannot be used end it with one line and exit code 1."""
    if sys.argv[1:2] and sys.argv[1] in _ALONE and set(sys.argv[2:]) <= {"--json"}:
        from metaagent.management.piped import run  # noqa: PLC0415 - only what this command needs

        sys.exit(run(sys.argv[1]))
    if sys.argv[1:2] == ["audit_verify"] and any(word.split("=")[0] == "--export" for word in sys.argv):
        from audit.offline import main as verify  # noqa: PLC0415 - it needs neither Django nor settings

        sys.exit(verify(sys.argv[2:]))
    from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415 - see above
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - see above

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "metaagent.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as wrong:
        sys.stderr.write(f"metaagent cannot start: {wrong}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
