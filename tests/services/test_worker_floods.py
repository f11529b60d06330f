"""A worker whose provider writes without end: its job fails as documented, in little memory, and the others go on."""

from __future__ import annotations

import itertools

from services.worker.execution.attempt import StopSignal
from services.worker.execution.delta_writer import DeltaWriter
from services.worker.providers.replies.stream_reader import TEXT_MAX
from shared.job import JobStatus
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from tests.support.adapters import open_provider
from tests.support.checks import RawRedis
from tests.support.floods import MIB, flooding, measured
from tests.support.llm_bodies import choice
from tests.support.store import KEYS, claim_one, new_job
from tests.support.worker import Scripted, answers, ended, running_worker

PLAIN = b"HTTP/1.1 200 OK\r\n\r\n"


async def test_a_text_without_end(store: JobStore, redis_url: str) -> None:
    """Well-formed events without end, 20 characters each: the text is cut, the job fails, jobs beside it are not held
    up, and its text in Redis goes with its log."""
    head = PLAIN + choice("Hello").encode()
    flood = new_job(prompt="flood", max_attempts=1, route=("openai:openai",))
    async with (
        flooding(head, itertools.repeat(choice("twenty characters 12").encode() * 1000)) as server,
        open_provider("openai", server.url) as hostile,
        running_worker(store.settings, {"p": Scripted(answers), "openai": hostile}),
        RawRedis(redis_url) as raw,
    ):
        async with measured() as strain:
            await store.submit(flood)
            beside = 0
            while (found := await store.status(flood.id)) is not None and not found.status.terminal:
                job = new_job(prompt="small", route=("p:p",))
                await store.submit(job)
                assert (await ended(store, job.id)).status is JobStatus.COMPLETED
                beside += 1
        seen = await store.status(flood.id)
        assert seen is not None
        assert seen.outcome is not None
        assert seen.outcome.error is not None
        assert (seen.status, seen.outcome.error.type) == (JobStatus.FAILED, "StreamMalformed")
        assert beside > 10
        assert strain.grown_mib < 150
        assert await raw("MEMORY", "USAGE", KEYS.log(flood.id)) < 2 * TEXT_MAX
        assert 0 < await raw("PTTL", KEYS.log(flood.id)) < 1_000_000
        assert await raw("MEMORY", "USAGE", KEYS.job(flood.id)) < MIB


async def test_small_pieces_take_no_more_than_their_text(store: JobStore) -> None:
    """A million pieces of four characters are kept as one text of four mebibytes."""
    settings = StoreSettings(redis_url=store.settings.redis_url, deltas=False)
    claim, signal = await claim_one(store), StopSignal(0.0, 0.0)
    async with open_store(settings, client_name="quiet") as quiet:
        deltas = DeltaWriter(quiet, claim, signal)
        async with measured() as strain:
            for number in range(MIB):
                deltas.push(f"{number % 10_000:4}")
            await deltas.close()
    assert len(deltas.text) == 4 * MIB
    assert strain.grown_mib < 32
