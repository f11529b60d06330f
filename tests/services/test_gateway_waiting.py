"""The cost of a call that waits for the end of a job, and of one organisation's reads for others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from services.gateway.jobs.usage import UsageCall, UsageQuery
from services.gateway.waiting.long_poll import until_ended
from shared.http.auth import Identity
from shared.job import JobSnapshot
from shared.store.job_store import JobStore
from tests.support.checks import RawRedis
from tests.support.store import submit


async def test_a_wait_for_a_long_text_reads_now_and_then(store: JobStore, redis_url: str) -> None:
    """A job that streams notifies some hundred times a second; its record is read a few times, less and less often."""
    (job_id,) = await submit(store)
    reads, notifications = 0, 0

    async def read() -> JobSnapshot | None:
        nonlocal reads
        reads += 1
        return await store.status(job_id)

    async with RawRedis(redis_url) as raw:
        waiting = asyncio.create_task(until_ended(store, job_id, 1.0, asyncio.Event(), read))
        while not waiting.done():
            notifications += await raw("PUBLISH", store.keys.job_channel(job_id), "0-0.1")
            await asyncio.sleep(0.005)
    assert waiting.result() is not None
    assert notifications > 30
    assert reads <= 9


class _Slow:
    """Rows of no organisation, slowly; how many read at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def usage(self, *_: Any) -> AsyncIterator[list[Any]]:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.02)
        self.now -= 1
        for _ in ():
            yield []


async def test_an_organisation_reads_its_sums_one_after_the_other(store: JobStore) -> None:
    """A caller that asks for a year again and again waits for itself; another organisation does not."""
    slow = store.queries = _Slow()  # type: ignore[assignment]  # a slow server
    report = UsageCall(store)
    await asyncio.gather(*(report.read(Identity("o"), UsageQuery()) for _ in range(5)))
    assert slow.most == 1
    await asyncio.gather(*(report.read(Identity(name), UsageQuery()) for name in ("a", "b", "c")))
    assert slow.most == 3
