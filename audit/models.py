"""The log and its checkpoints: inserted and read, never changed (triggers hold them to that); and how checking goes."""

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
            # Again without the events of tool calls, and with all that is filtered by: what people did is found however
            # far back it lies, without a look at the rows, of which hardly two are on one page.
            models.Index(
                fields=["tenant_id", "-seq", "kind", "at", "user_id", "client", "provider", "connection_id"],
                name="audit_not_calls",
                condition=~models.Q(kind__in=["tool.call.intent", "tool.call.done", "tool.call.failed"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class Checkpoint(models.Model):
    """What was sealed of a tenant's log; `audit.chain.Checkpoint` says what each field means."""

    tenant_id = models.UUIDField()
    number = models.PositiveIntegerField()
    from_seq = models.BigIntegerField()
    to_seq = models.BigIntegerField()
    count = models.PositiveIntegerField()
    total = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    previous = models.CharField(max_length=64)
    late = models.TextField(blank=True)
    """Numbers, separated by spaces."""
    at = models.DateTimeField()
    key = models.CharField(max_length=64)
    signature = models.CharField(max_length=128)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant_id", "number"], name="checkpoint_number")]
        indexes = [
            models.Index(fields=["-to_seq"], name="checkpoint_position"),
            models.Index(fields=["tenant_id"], name="checkpoint_late", condition=~models.Q(late="")),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.number}"


class Gap(models.Model):
    """Numbers that no event had when their place was sealed: what turns up there later is late, not slipped in."""

    first = models.BigIntegerField()
    last = models.BigIntegerField()
    noted_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


class Verification(models.Model):
    """How the checking of one tenant's log goes, and what came of it the last time."""

    tenant_id = models.UUIDField(primary_key=True)
    asked_at = models.DateTimeField(null=True)
    asked_by = models.UUIDField(null=True)
    busy_until = models.DateTimeField(null=True)
    """A process is at it, which has until then to come back."""
    began_at = models.DateTimeField(null=True)
    """When the present round began; NULL: none is under way."""
    reached = models.PositiveIntegerField(default=0)
    """The last checkpoint of the present round that holds."""
    ended_at = models.DateTimeField(null=True)
    ended_to = models.PositiveIntegerField(default=0)
    """The last checkpoint that held in the last round."""
    problem = models.TextField(blank=True)
    """The first place that shows that the log is not what was sealed; empty: there was none."""

    def __str__(self) -> str:
        return str(self.tenant_id)
