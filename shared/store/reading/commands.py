"""Plain commands, as the readers send them: observed, and refused in the words of the domain."""

from __future__ import annotations

from collections.abc import Callable

from redis.exceptions import RedisError, ResponseError

from shared.store.connection import server_errors
from shared.store.connection.multiplexer import Observer, Reply, Transport


class Reads:
    """A `Transport` before another one. Never raises ResponseError: `on_refusal` is called with each; `refused`: as in
    `ScriptCalls`."""

    def __init__(
        self, transport: Transport, observer: Observer | None, on_refusal: Callable[[RedisError | str], None]
    ) -> None:
        self._transport = transport
        self._observer = observer
        self._on_refusal = on_refusal
        self.refused = 0

    async def execute(self, *command: bytes | str | int | float) -> Reply:
        """See `Transport`."""
        if self._observer is not None:
            self._observer(str(command[0]), 1)
        try:
            return await self._transport.execute(*command)
        except ResponseError as error:
            self._on_refusal(error)
            self.refused += server_errors.of_every_write(error)
            raise server_errors.of_call(error) from None
