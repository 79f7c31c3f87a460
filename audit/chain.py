"""What makes the log provable: events as bytes, a digest running over a tenant's events, signed checkpoints; pure.

A checkpoint says: so many events of this tenant, up to this number, have this digest. The digest runs over all events
before as well, so whoever keeps one checkpoint can tell any later change to what it covers.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import Any, NamedTuple, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

FIELDS = (
    "seq",
    "id",
    "at",
    "tenant_id",
    "kind",
    "user_id",
    "client",
    "run_id",
    "provider",
    "connection_id",
    "tool",
    "args_hmac",
    "intent_id",
    "detail",
)
"""What is exported of an event, and what is sealed: all of it."""

Stated: TypeAlias = Mapping[str, Any]
"""An event as it is exported: plain JSON values by the names in `FIELDS`."""

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_SIGNED = b"metaagent audit checkpoint\n"
_SEED = b"audit checkpoints"


class Broken(Exception):
    """The log is not what was sealed; the message names the first place that shows it."""


def canonical(event: Stated) -> bytes:
    """The one way to write an event, in UTF-8: JSON with sorted names and no white space."""
    return _encode(event).encode("utf-8", "surrogatepass")


class Entry(NamedTuple):
    """An event as it is sealed."""

    seq: int
    tenant_id: str
    line: bytes
    """See `canonical`."""


def entry(event: Stated) -> Entry:
    """An event that was exported, to be sealed or checked."""
    return Entry(event["seq"], event["tenant_id"], canonical(event))


def genesis(tenant_id: str) -> bytes:
    """The digest of a tenant's log before its first event."""
    return sha256(b"metaagent audit log\n" + tenant_id.encode()).digest()


def link(digest: bytes, event: bytes) -> bytes:
    """The digest of a log that goes on with this event."""
    return sha256(digest + event).digest()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one checkpoint states of a tenant's log."""

    tenant_id: str
    number: int
    """1, 2, 3 … for each tenant."""
    from_seq: int
    """Where it begins: after the checkpoint before."""
    to_seq: int
    count: int
    """Events it adds: those of the tenant from `from_seq` to `to_seq`, in order, then `late`."""
    total: int
    """Events up to here."""
    digest: str
    previous: str
    """The digest at the checkpoint before."""
    late: tuple[int, ...]
    """Numbers below `from_seq` of events that were not there yet when their place was sealed."""
    at: str
    key: str
    """The public key, raw, in hexadecimal; so are digests and the signature."""
    signature: str = ""

    def signed(self) -> bytes:
        """What the signature is over."""
        return _SIGNED + _encode({**asdict(self), "signature": ""}).encode()

    def line(self) -> str:
        """As it is kept in files, one line each."""
        return _encode(asdict(self))

    @classmethod
    def read(cls, line: str) -> Checkpoint:
        """Raises: ValueError."""
        try:
            found = json.loads(line)
            made = cls(**{**found, "late": tuple(found["late"])})
        except (TypeError, KeyError, ValueError) as wrong:
            raise ValueError("not a checkpoint") from wrong
        if any(type(getattr(made, name)) is not kind for name, kind in _KINDS.items()):
            raise ValueError("not a checkpoint")
        return made


_KINDS = {
    **dict.fromkeys(("number", "from_seq", "to_seq", "count", "total"), int),
    **dict.fromkeys(("tenant_id", "digest", "previous", "at", "key", "signature"), str),
}


class Signer:
    """Signs checkpoints with a key that follows from the deployment's secret, and so is not in its database."""

    def __init__(self, secret: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(hmac.digest(secret.encode(), _SEED, "sha256"))
        self.public = self._key.public_key().public_bytes_raw().hex()

    def sign(self, checkpoint: Checkpoint) -> Checkpoint:
        """The same, signed with this key."""
        ours = replace(checkpoint, key=self.public)
        return replace(ours, signature=self._key.sign(ours.signed()).hex())


def extend(
    last: Checkpoint | None, tenant_id: str, events: Iterable[Entry], late: Iterable[Entry], *, at: str
) -> Checkpoint:
    """What is to be signed next: `events` follow `last` in order, `late` ones lie below it."""
    before = bytes.fromhex(last.digest) if last else genesis(tenant_id)
    digest, count = before, 0
    from_seq = last.to_seq + 1 if last else 0
    to_seq = from_seq - 1
    for event in events:
        digest, count, to_seq = link(digest, event.line), count + 1, event.seq
    belated = []
    for event in late:
        digest, count = link(digest, event.line), count + 1
        belated.append(event.seq)
    return Checkpoint(
        tenant_id,
        number=(last.number if last else 0) + 1,
        from_seq=from_seq,
        to_seq=to_seq,
        count=count,
        total=(last.total if last else 0) + count,
        digest=digest.hex(),
        previous=before.hex(),
        late=tuple(belated),
        at=at,
        key="",
    )


@dataclass(slots=True)
class Walk:
    """Holds a tenant's events, in the order of their numbers, against its checkpoints, one after the other.

    It can be put down after any checkpoint and taken up again from it.
    """

    tenant_id: str
    events: Iterator[Entry]
    """Those after `last`."""
    keys: Collection[str]
    """The public keys that are taken for the deployment's."""
    late: Collection[int] = ()
    """The numbers of all events that some checkpoint calls late."""
    last: Checkpoint | None = None
    aside: dict[int, bytes] = field(default_factory=dict)
    """Late events that were passed and wait for their checkpoint."""
    _next: Entry | None = None
    _seq: int = -1

    def __post_init__(self) -> None:
        self._seq = self.last.to_seq if self.last else -1
        self._step()

    def through(self, checkpoint: Checkpoint) -> None:
        """Check one checkpoint and every event it covers. Raises: Broken."""
        self._follows(checkpoint)
        digest, found = bytes.fromhex(checkpoint.previous), 0
        while self._next is not None and self._next.seq <= checkpoint.to_seq:
            if self._next.seq in self.late:
                self.aside[self._next.seq] = self._next.line
            else:
                digest, found = link(digest, self._next.line), found + 1
            self._step()
        self._has_all(checkpoint, found)
        for seq in checkpoint.late:
            if seq not in self.aside:
                raise Broken(f"Event {seq} is missing: checkpoint {checkpoint.number} has it as a late one.")
            digest = link(digest, self.aside.pop(seq))
        if digest.hex() != checkpoint.digest:
            raise Broken(f"{_place(checkpoint)}: an event is not what it was when it was sealed.")
        self.last = checkpoint

    def put_aside(self, passed: Iterable[Entry]) -> None:
        """Late events that lie below `last`."""
        self.aside |= {event.seq: event.line for event in passed}

    def rest(self) -> int:
        """How many events come after the last checkpoint: nothing is known of them yet. Raises: Broken."""
        count = 0
        while self._next is not None:
            count += self._next.seq not in self.late
            self._step()
        return count

    def _step(self) -> None:
        self._next = next(self.events, None)
        if self._next is None:
            return
        seq = self._next.seq
        if seq <= self._seq:
            raise Broken(f"Event {seq} comes after event {self._seq}: the order is not that of the log.")
        if self._next.tenant_id != self.tenant_id:
            raise Broken(f"Event {seq} is of another tenant.")
        self._seq = seq

    def _follows(self, checkpoint: Checkpoint) -> None:
        number, last = checkpoint.number, self.last
        expected = last.number + 1 if last else 1
        if number != expected:
            raise Broken(f"Checkpoint {expected} is missing: checkpoint {number} stands in its place.")
        if checkpoint.tenant_id != self.tenant_id:
            raise Broken(f"Checkpoint {number} is of another tenant.")
        if checkpoint.key not in self.keys:
            raise Broken(f"Checkpoint {number} is signed with a key that is not known: {checkpoint.key[:64]}.")
        if not _fits(checkpoint):
            raise Broken(f"Checkpoint {number} was altered: its signature does not fit.")
        before = last.digest if last else genesis(self.tenant_id).hex()
        counted = (last.to_seq + 1, last.total + checkpoint.count) if last else (0, checkpoint.count)
        if checkpoint.previous != before or (checkpoint.from_seq, checkpoint.total) != counted:
            raise Broken(f"Checkpoint {number} does not follow checkpoint {number - 1}.")

    def _has_all(self, checkpoint: Checkpoint, found: int) -> None:
        sealed = checkpoint.count - len(checkpoint.late)
        if found > sealed:
            raise Broken(f"{_place(checkpoint)}: {found - sealed} more than were sealed, {found} instead of {sealed}.")
        if found < sealed and self._next is None:
            raise Broken(
                f"The log ends at event {max(self._seq, 0)}, but checkpoint {checkpoint.number} goes on to event "
                f"{checkpoint.to_seq}: its end is cut off, or it is an older copy than the checkpoints."
            )
        if found < sealed:
            raise Broken(f"{_place(checkpoint)}: {sealed - found} missing, {found} instead of {sealed}.")


def _fits(checkpoint: Checkpoint) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(checkpoint.key))
        key.verify(bytes.fromhex(checkpoint.signature), checkpoint.signed())
    except (InvalidSignature, ValueError):
        return False
    return True


def _place(checkpoint: Checkpoint) -> str:
    return f"Events {checkpoint.from_seq} to {checkpoint.to_seq} (checkpoint {checkpoint.number}, {checkpoint.at[:19]})"
