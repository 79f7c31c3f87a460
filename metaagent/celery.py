"""The Celery app: beat says when to look for work, a worker does what is due.

By default both are threads of the web process (`metaagent.background`). With `CELERY_BROKER_URL` they are processes of
their own: `celery -A metaagent worker -B`, or `celery -A metaagent beat` beside several workers.
"""

from __future__ import annotations

import os

from celery import Celery
from django.apps import apps
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "metaagent.settings")

# In the web process Django is up already: Celery's fix-ups would set it up, and check it, once more.
app = Celery("metaagent", fixups=[] if apps.ready else None)
app.config_from_object("django.conf:settings", namespace="CELERY")


def _every(seconds: int, task: str) -> dict[str, object]:
    """What still waits when its next turn comes is dropped: that one finds the same rows."""
    return {"task": task, "schedule": seconds, "options": {"expires": seconds}}


app.conf.beat_schedule = {
    "revocations": _every(settings.SWEEP_EVERY_S, "vault.tasks.revocations"),
    "rotations": _every(3, "vault.tasks.rotations"),
    "departures": _every(60, "vault.tasks.departures"),
    "outcomes": _every(60, "vault.tasks.outcomes"),
    "keep-alive": _every(60, "vault.tasks.keep_alive"),
    "tools": _every(60, "vault.tasks.tools"),
    "forget": _every(300, "vault.tasks.forget"),
    "seal": _every(settings.AUDIT_SEAL_EVERY_S, "audit.tasks.seal"),
    "verify": _every(10, "audit.tasks.verify"),
    "clients": _every(300, "tenants.oauth.tasks.sweep"),
}
