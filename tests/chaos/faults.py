"""The faults of a chaos run: processes die or freeze, the server dies, stalls, refuses writes or steps its clock.

Operators meet each of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.chaos.server_clock import ServerClock
from tests.support.checks import RawRedis
from tests.support.stack import Stack

CLOCK_STEP_S = 4.0
"""Most that the server's clock is put forward or back at once, as by a fail-over to a host with another time."""


class Faults:
    """Breaks a running stack at random for `seconds`, about twenty times; kills the server once, in the middle.

    `clock` None: its clock is left alone. `happened` counts them. A frozen process or server stays so for up
    to two and a half, writes are refused for up to one and a half leases.
    """

    def __init__(
        self, stack: Stack, *, seconds: float, lease_s: float, chance: random.Random, clock: ServerClock | None
    ) -> None:
        self._stack = stack
        self._seconds = seconds
        self._lease_s = lease_s
        self._chance = chance
        self._clock = clock
        self._server = asyncio.Lock()
        self._dying = {service: asyncio.Lock() for service in stack.services}
        self.happened = Counter[str]()

    async def run(self) -> None:
        """Return when the time is over and everything runs again."""
        end, server_dies = time.monotonic() + self._seconds, time.monotonic() + self._seconds / 2
        faults = [self._kill, self._kill, self._kill, self._freeze, self._refuse_writes, self._stall]
        if self._clock is not None:
            faults.append(self._step_clock)

        async with asyncio.TaskGroup() as group:
            while time.monotonic() < end or server_dies:
                await asyncio.sleep(self._chance.uniform(0.5, 1.0) * max(self._seconds / 20, 0.5))
                fault: Callable[[], Awaitable[None]] = self._chance.choice(faults)
                if server_dies and time.monotonic() > server_dies:
                    server_dies, fault = 0.0, self._kill_server
                # Side by side: a worker may well die while another is frozen or writes are refused.
                group.create_task(self._do(fault))

    async def _do(self, fault: Callable[[], Awaitable[None]]) -> None:
        self.happened[getattr(fault, "__name__", "fault").strip("_")] += 1
        await fault()

    async def _kill(self) -> None:
        victim = self._chance.choice([service for service in self._stack.services if service.name != "notifier"])
        self.happened[victim.name] += 1
        async with self._dying[victim]:
            await victim.kill()
            await asyncio.sleep(self._chance.uniform(0.0, 0.5))
            victim.start()

    async def _freeze(self) -> None:
        victim = self._chance.choice(self._stack.services)
        victim.freeze()
        await asyncio.sleep(self._chance.uniform(0.1, 2.5) * self._lease_s)
        victim.thaw()

    async def _kill_server(self) -> None:
        async with self._server:
            await self._let_the_disk_catch_up()
            await asyncio.to_thread(self._stack.server.kill)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(self._stack.server.start)

    async def _let_the_disk_catch_up(self) -> None:
        # While a disk is slow to save, a server with `everysec` keeps up to 2 s of confirmed writes in memory, and
        # loses that with its process. Nobody promises more (docs/durability.md); this is about everything else.
        async with RawRedis(self._stack.server.url) as raw:
            await raw("CONFIG", "SET", "appendfsync", "always")

    async def _stall(self) -> None:
        async with self._server:
            self._stack.server.pause()
            await asyncio.sleep(self._chance.uniform(0.1, 2.5) * self._lease_s)
            self._stack.server.resume()

    async def _refuse_writes(self) -> None:
        async with self._server, RawRedis(self._stack.server.url) as raw:
            await raw("CONFIG", "SET", "min-replicas-to-write", 1)
            await asyncio.sleep(self._chance.uniform(0.1, 1.5) * self._lease_s)
            await raw("CONFIG", "SET", "min-replicas-to-write", 0)

    async def _step_clock(self) -> None:
        assert self._clock is not None
        async with self._server:
            self._clock.step(self._chance.uniform(-CLOCK_STEP_S, CLOCK_STEP_S))
