"""The wait of an idle worker: a blocking pop of its wake keys, on a connection of its own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence

from redis.exceptions import RedisError

from shared.errors import StoreUnavailable
from shared.store.connection import error_advice
from shared.store.connection.connector import AnyConnection, watch_s
from shared.store.connection.multiplexer import Observer
from shared.store.connection.quota import Quota
from shared.store.results import WakeUp


class BlockingPop:
    """One blocking pop at a time. `margin_s`: how late a reply may be before the connection counts as broken.

    `refused`: called when the Redis user may not block.
    """

    def __init__(
        self,
        connection: AnyConnection,
        wake: Sequence[str],
        *,
        margin_s: float,
        quota: Quota,
        observer: Observer | None = None,
        refused: Callable[[RedisError | str], None] = lambda _: None,
    ) -> None:
        self._connection = connection
        self._longest_s = watch_s(connection)
        self._wake = wake
        self._margin_s = margin_s
        self._quota = quota
        self._observer = observer
        self._refused = refused

    async def sleep(self, timeout_ms: int) -> WakeUp:
        """Wait until a marker comes, at most `timeout_ms`. StoreUnavailable when the connection breaks,
        QuotaExceeded."""
        self._quota.enter_blocking()
        if self._longest_s is not None:
            longest_ms = round(self._longest_s * 1000)
            while timeout_ms > longest_ms:
                if (wake_up := await self._block(longest_ms)) is not WakeUp.NONE:
                    return wake_up
                timeout_ms -= longest_ms
        return await self._block(timeout_ms)

    async def _block(self, timeout_ms: int) -> WakeUp:
        # To the server a block of 0 is one without end.
        try:
            async with asyncio.timeout(timeout_ms / 1000 + self._margin_s):
                await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
                if self._observer is not None:
                    self._observer("BZPOPMIN", 1)
                await self._connection.send_command("BZPOPMIN", *self._wake, max(timeout_ms, 1) / 1000)
                reply = await self._connection.read_response(timeout=math.inf)
        except (RedisError, OSError, TimeoutError) as error:
            await self.aclose()
            if isinstance(error, RedisError) and error_advice.is_permission(error):
                self._refused(error)
            if (exceeded := self._quota.noticed(error)) is not None:
                raise exceeded from None
            raise StoreUnavailable("the connection to Redis broke while waiting for work") from None
        except BaseException:
            # A pop without a reader would take the next marker.
            await self.aclose()
            raise
        return WakeUp(reply[1].decode()) if reply else WakeUp.NONE

    async def aclose(self) -> None:
        """Close the connection; the next wait opens it again."""
        await self._connection.disconnect(nowait=True)
