"""What reads have found, for whoever may read exactly the same again; one call for all who want it at the same time."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Self

import orjson

from metaagent.agent.ports import AccessToken, Shared
from metaagent.agent.types import Admission, ConnectionRef, Principal
from metaagent.values import value
from providers.spec import Json, Page, Result, ToolSpec

MOST_BYTES: Final = 262_144
"""A larger result is not kept."""
_MARK_S: Final = 3_600
"""How long a change is remembered: longer than any result."""


@value
class Kept:
    """Under what a result is kept: whoever differs in any of it is given nothing."""

    key: str
    connection: str
    lasting: bool
    """Whether it may outlive the run."""

    @classmethod
    def of(
        cls,
        principal: Principal,
        admission: Admission,
        connection: ConnectionRef,
        token: AccessToken,
        tool: ToolSpec,
        args: Mapping[str, Json],
    ) -> Self:
        """By tenant, person, membership, connection, token version, where the provider is, tool and arguments."""
        try:
            whole = orjson.dumps(
                [
                    principal.tenant_id,
                    principal.user_id,
                    admission.membership_id,
                    admission.installation_id,
                    admission.provider.api_base,
                    connection.id,
                    token.version,
                    tool.name,
                    args if type(args) is dict else dict(args),
                ],
                option=orjson.OPT_SORT_KEYS,
            )
        except TypeError:  # what JSON cannot say is nobody's but this call's
            return cls(secrets.token_hex(16), connection.id.hex, lasting=False)
        # The tenant once more, in the clear: whatever becomes of the hash, tenants stay apart.
        key = f"found:{principal.tenant_id.hex}:{hashlib.sha256(whole).hexdigest()}"
        return cls(key, connection.id.hex, lasting=admission.membership_id is not None)


class Results:
    """The results of one process's reads; kept in `shared` for at most `most_s` seconds."""

    def __init__(self, shared: Shared, most_s: int) -> None:
        self._shared = shared
        self._most_s = most_s
        self._flying: dict[str, asyncio.Future[Result]] = {}

    async def get(self, kept: Kept, keep_s: int, read: Callable[[], Awaitable[Result]]) -> tuple[Result, bool]:
        """What is kept, or what `read` brings; and whether this caller was spared the reading.

        Raises: what `read` raises, in every caller that waited for it.
        """
        keep_s = min(keep_s, self._most_s)
        if not kept.lasting or keep_s <= 0:
            return await read(), False
        while (flight := self._flying.get(kept.key)) is not None:
            try:
                return await asyncio.shield(flight), True
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not flight.cancelled() or (task is not None and task.cancelling()):
                    raise  # we are the one that is cancelled
        flight = self._flying[kept.key] = asyncio.get_running_loop().create_future()
        try:
            result, hit = await self._get(kept, keep_s, read)
        except Exception as error:
            flight.set_exception(error)
            flight.exception()  # looked at: perhaps nobody else waits
            raise
        except BaseException:
            flight.cancel()
            raise
        else:
            flight.set_result(result)
            return result, hit
        finally:
            del self._flying[kept.key]

    async def _get(self, kept: Kept, keep_s: int, read: Callable[[], Awaitable[Result]]) -> tuple[Result, bool]:
        changed = await self._shared.load(_mark(kept.connection)) or b""
        found = await self._shared.load(kept.key)
        if found is not None and (result := _opened(found, changed)) is not None:
            return result, True
        result = await read()
        body = _closed(result, changed)
        if body is not None:
            await self._shared.store(kept.key, body, ttl_s=keep_s)
        return result, False

    async def changed(self, connection: ConnectionRef) -> None:
        """Something was written through this connection: what was read before is not given again."""
        await self._shared.store(_mark(connection.id.hex), secrets.token_bytes(12), ttl_s=_MARK_S)


def _mark(connection: str) -> str:
    return f"changed:{connection}"


def _closed(result: Result, changed: bytes) -> bytes | None:
    sources = [[page.title, page.url, page.ref] for page in result.sources]
    try:
        body = orjson.dumps([changed.hex(), result.data, result.text, sources])
    except TypeError:  # a number of more than 64 bits
        return None
    return body if len(body) <= MOST_BYTES else None


def _opened(body: bytes, changed: bytes) -> Result | None:
    """None for what was read before the last change."""
    mark, data, text, sources = orjson.loads(body)
    if mark != changed.hex():
        return None
    return Result(data, text, tuple(Page(*page) for page in sources))
