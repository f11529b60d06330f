"""One connection for all commands of a process: commands of one iteration of the event loop leave in one write.

An awaited command over redis-py's pool costs about 173 us of Python, over a shared socket like this about 11.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from shared.errors import StoreUnavailable, StoreUnfit
from shared.store.connection import server_errors
from shared.store.connection.connection_log import ConnectionLog, lacking
from shared.store.connection.connector import CONNECT_TIMEOUT_S, AnyConnection
from shared.telemetry.causes import FailureLog

IDLE_S: Final = 1.0
THAW_ITERATIONS: Final = 4
"""Event-loop iterations that a process gets, after IDLE_S without a command, to see that its connection was closed: it
may have been frozen meanwhile."""

Reply = Any
"""A reply of the server: bytes, int, None or lists of these."""

Observer = Callable[[str, int], None]
"""Called after every round trip with the verb (a script's or command's name) and the number of commands a host bills
for it."""


class Transport(Protocol):
    """Sends one command and returns its reply. ResponseError is the server's refusal, StoreUnavailable all else."""

    async def execute(self, *command: bytes | str | int | float) -> Reply: ...


class _Call:
    __slots__ = ("done", "packed", "sent")

    def __init__(self, packed: bytes, done: asyncio.Future[Reply]) -> None:
        self.packed = packed
        self.done = done
        self.sent = False


class Multiplexer:
    """A `Transport`. Opens its connection with the first command, and again after it broke.

    A command is sent once and never repeated. When the connection breaks or the reply is overdue, the caller gets
    StoreUnavailable, whose `sent` is True if the command may have taken effect. `generation` counts connections: a
    reader for whom it did not change has had one unbroken view of the server. A reply which says that the master is
    elsewhere ends the connection too: the next one is opened to the new master.
    """

    def __init__(self, connect: Callable[[], AnyConnection], *, timeout: float = 2.0) -> None:
        self._connect = connect
        self._timeout = timeout
        self._outbox: deque[_Call] = deque()
        self._inflight: deque[_Call] = deque()
        self._ready = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._session: asyncio.Task[None] | None = None
        self._connection_log = ConnectionLog()
        self._failures = FailureLog("redis_session_failed")
        self._closed = False
        self.generation = 0

    async def execute(self, *command: bytes | str | int | float) -> Reply:
        """Send one command; the socket's time-out covers connecting, waiting and the reply."""
        call = self._post(command)
        try:
            async with asyncio.timeout(self._timeout):
                return await call.done
        except TimeoutError:
            self._overdue(call)
            raise StoreUnavailable(f"Redis did not answer within {self._timeout:g} s", sent=call.sent) from None
        finally:
            self._take_back(call)

    async def execute_in_turn(self, *commands: Sequence[bytes | str | int | float]) -> list[Reply | ResponseError]:
        """Send commands one right after the other over the same connection; a refusal is a reply of its own.

        For commands whose effect depends on earlier ones of the same connection, such as WAIT.
        """
        # One write takes the whole outbox, so these cannot be parted.
        calls = [self._post(command) for command in commands]
        try:
            async with asyncio.timeout(self._timeout):
                replies = await asyncio.gather(*(call.done for call in calls), return_exceptions=True)
        except TimeoutError:
            self._overdue(calls[-1])
            reason = f"Redis did not answer within {self._timeout:g} s"
            raise StoreUnavailable(reason, sent=calls[0].sent) from None
        finally:
            for call in calls:
                self._take_back(call)

        for reply in replies:
            if isinstance(reply, BaseException) and not isinstance(reply, ResponseError):
                raise reply
        return replies

    def _post(self, command: Sequence[bytes | str | int | float]) -> _Call:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run(), name="redis-shared-socket")
        packed = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]  # its stub knows tuples of one only
        call = _Call(packed, asyncio.get_running_loop().create_future())
        self._outbox.append(call)
        self._ready.set()
        return call

    def _take_back(self, call: _Call) -> None:
        if not call.sent:
            with contextlib.suppress(ValueError):
                self._outbox.remove(call)

    def renew(self) -> None:
        """Close the connection: the next command opens another one."""
        if self._session is not None:
            self._session.cancel()

    async def aclose(self) -> None:
        """Close the connection; commands that still wait get StoreUnavailable."""
        self._closed = True
        if self._runner is not None:
            self._runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._runner
        self._fail(self._outbox, "the store is closed")

    def _overdue(self, call: _Call) -> None:
        # A server that owes a reply may be gone behind a half-open connection: the next command gets a new one.
        if call.sent and self._session is not None:
            self._session.cancel()

    def _fail(self, calls: deque[_Call], reason: str, kind: type[StoreUnavailable] = StoreUnavailable) -> None:
        while calls:
            call = calls.popleft()
            if not call.done.done():
                call.done.set_exception(kind(reason, sent=call.sent))

    async def _run(self) -> None:
        failures = 0
        while True:
            await self._ready.wait()
            if not self._outbox:
                self._ready.clear()
                continue

            opened = self.generation
            self._session = asyncio.create_task(self._talk(), name="redis-session")
            try:
                await self._session
            except asyncio.CancelledError:
                if asyncio.current_task().cancelling():  # type: ignore[union-attr]  # a coroutine always runs in a task
                    self._session.cancel()
                    await asyncio.wait([self._session])
                    raise
            except (RedisError, OSError, TimeoutError) as error:
                if self.generation == opened:
                    self._connection_log.failed(error)
                    if (missing := lacking(error)) is not None:
                        self._fail(self._outbox, missing, StoreUnfit)
            except Exception as error:
                # No other task would open a connection again: every command would wait for ever.
                self._failures.failed(error)

            failures = 0 if self.generation != opened else failures + 1
            await asyncio.sleep(random.uniform(0.5, 1.0) * min(0.02 * 2.0 ** min(failures, 6), 0.25))  # noqa: S311 - jitter

    async def _talk(self) -> None:
        connection = self._connect()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
            self.generation += 1
            self._connection_log.ended()
            await self._pump(connection)
        finally:
            self._fail(self._inflight, "the connection to Redis broke")
            with contextlib.suppress(Exception):
                await connection.disconnect(nowait=True)

    async def _pump(self, connection: AnyConnection) -> None:
        pair = [asyncio.create_task(self._write(connection)), asyncio.create_task(self._read(connection))]
        try:
            done, _ = await asyncio.wait(pair, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            for task in pair:
                task.cancel()
            await asyncio.gather(*pair, return_exceptions=True)

    async def _write(self, connection: AnyConnection) -> None:
        loop = asyncio.get_running_loop()
        written = loop.time()

        while True:
            await self._ready.wait()
            if loop.time() - written > IDLE_S:
                # A process may have been frozen, as serverless hosts do. Its reader learns now that the connection was
                # closed meanwhile; a command written to it would get no reply.
                for _ in range(THAW_ITERATIONS):
                    await asyncio.sleep(0)
            written = loop.time()
            self._ready.clear()
            batch = []
            while self._outbox:
                call = self._outbox.popleft()
                if not call.done.done():
                    call.sent = True
                    self._inflight.append(call)
                    batch.append(call.packed)
            if batch:
                await connection.send_packed_command(b"".join(batch), check_health=False)

    async def _read(self, connection: AnyConnection) -> None:
        while True:
            try:
                reply, error = await connection.read_response(timeout=math.inf, disconnect_on_error=False), None
            except ResponseError as refused:
                reply, error = None, refused
            if not self._inflight:
                raise RedisConnectionError("Redis spoke unasked") from error
            call = self._inflight.popleft()
            if call.done.done():
                pass
            elif error is None:
                call.done.set_result(reply)
            else:
                call.done.set_exception(error)
            if error is not None and server_errors.elsewhere(error):
                raise RedisConnectionError("the master is another server now") from error
