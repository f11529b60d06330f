"""Budgets by the server's own clock: a day that really ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer, bundled_binary
from shared.store.job_store import open_store
from tests.chaos.server_clock import ServerClock, find_library
from tests.support.budgets import CALL, Sums, end, priced, sums_of
from tests.support.checks import RawRedis
from tests.support.gates import A
from tests.support.store import claim, settle, submit

DAY_S = 86_400


async def test_a_day_begins_and_the_cost_stays_where_it_was_claimed(tmp_path: Path) -> None:
    """The next promotion lets the organisation in. A job of the day before is settled there, and 40 days later that day
    is forgotten."""
    if (library := find_library()) is None:
        pytest.skip("libfaketime is not installed on this machine")
    clock = ServerClock(tmp_path, library, bundled_binary())
    with EmbeddedServer(tmp_path / "data", aof=False, binary=clock.binary) as server:
        settings = StoreSettings(redis_url=server.url, lease_seconds=60.0)
        async with open_store(settings, client_name="t", routing=priced(A)) as store, RawRedis(server.url) as raw:
            await settle(store, "org", day_nano_usd=2 * CALL)
            await submit(store, 3, deadline_ms=3 * DAY_S * 1000)
            first, second = await claim(store)
            await end(store, first, CALL)
            (day,) = [name for name in await sums_of(raw) if name[0] == "d"]
            await store.maintenance.promote()
            assert await claim(store) == []

            await _leap(clock, raw, DAY_S)
            await store.maintenance.promote()
            (third,) = await claim(store)
            await end(store, second, 7)
            await end(store, third, 8)
            tomorrow = f"d{int(day[1:]) + 1}"
            found = await sums_of(raw)
            assert (found[day], found[tomorrow]) == (Sums(CALL + 7, 0), Sums(8, 0))

            await _leap(clock, raw, 42 * DAY_S)
            await submit(store)
            await claim(store)
            assert {day, tomorrow}.isdisjoint(await sums_of(raw))


async def _leap(clock: ServerClock, raw: RawRedis, seconds: int) -> None:
    before = int((await raw("TIME"))[0])
    clock.step(seconds)
    async with asyncio.timeout(30):
        while int((await raw("TIME"))[0]) < before + seconds - 60:
            await asyncio.sleep(0.05)
