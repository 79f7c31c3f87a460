"""A number that grows whenever anybody's rights change, so that what was read before is known to be outdated.

It is changed in the same transaction as the rights. Every process reads it at least once in `STANDING_CACHE_MS`; the
process that made the change knows at once.
"""

from __future__ import annotations

from django.db import connection, transaction
from django.db.models import F

_ours = 0


def generation() -> int:
    """The number in the database."""
    from tenants.models import Standing  # noqa: PLC0415 - the models call `changed`

    with connection.cursor() as cursor:  # plain SQL: this is asked every second, and building the query costs more
        cursor.execute(f"SELECT generation FROM {Standing._meta.db_table}")  # noqa: S608, SLF001 - our own table
        found: int = cursor.fetchone()[0]
        return found


def ours() -> int:
    """How many changes this process has committed."""
    return _ours


def changed() -> None:
    """Rights change when the transaction the caller is in commits."""
    from tenants.models import Standing  # noqa: PLC0415 - see above

    Standing.objects.update(generation=F("generation") + 1)
    transaction.on_commit(_count)


def _count() -> None:
    global _ours  # noqa: PLW0603 - one number for the whole process
    _ours += 1
