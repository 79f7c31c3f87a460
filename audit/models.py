"""The log's one table: inserted and read, never changed (triggers in the first migration hold it to that)."""

from __future__ import annotations

import uuid

from django.db import models


class AuditEvent(models.Model):
    """One append-only fact. No foreign keys: it outlives what it names."""

    seq = models.BigAutoField(primary_key=True)
    id = models.UUIDField(default=uuid.uuid4, editable=False)
    """128 random bits; without an index, which would cost every call more than the rest of the insert."""
    at = models.DateTimeField()
    tenant_id = models.UUIDField()
    kind = models.CharField(max_length=48)
    user_id = models.UUIDField(null=True)
    client = models.CharField(max_length=80, blank=True)
    run_id = models.CharField(max_length=40, blank=True)
    provider = models.CharField(max_length=40, blank=True)
    connection_id = models.UUIDField(null=True)
    tool = models.CharField(max_length=80, blank=True)
    args_hmac = models.CharField(max_length=64, blank=True)
    intent_id = models.UUIDField(null=True)
    detail = models.JSONField(default=dict)

    class Meta:
        indexes = [
            models.Index(fields=["tenant_id", "-seq"], name="audit_tenant_seq"),
            models.Index(fields=["tenant_id", "run_id"], name="audit_tenant_run"),
            # Partial: the events of tool calls, which are by far the most, cost nothing here.
            models.Index(
                fields=["connection_id", "-seq"],
                name="audit_token_versions",
                condition=models.Q(kind__in=["token.refresh.done", "connect.exchange.done", "token.import.done"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"
