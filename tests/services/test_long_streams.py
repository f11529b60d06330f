"""Streams of texts as long as a model may write: their readers cost the others no time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from services.gateway.responses.events import ResponseEvents
from services.gateway.responses.views import ResponseView
from shared.events import JobEvent
from shared.job import JobSpec
from shared.store.job_store import JobStore
from shared.store.pubsub.listeners import NOTIFIED
from shared.streams.sources import SharedReads
from shared.streams.translation import LONG_BYTES, TranslatedSource
from tests.support.job_life import JobLife

SPEC = JobSpec(project_id="p", user_id="u", organization_id="org-1", prompt="write")


class Watched:
    """Translates as `ResponseEvents` does, and notes at each piece its length and how often the loop had gone on."""

    def __init__(self, job_id: str) -> None:
        self._events = ResponseEvents(ResponseView(job_id, SPEC, ["demo:demo"]), 0)
        self.seen: list[tuple[int, int]] = []
        self.rounds = 0
        self.over = False

    def feed(self, event: JobEvent) -> Iterator[bytes]:
        for piece in self._events.feed(event):
            yield piece
            self.seen.append((len(piece), self.rounds))
        self.over = self._events.over

    def farewell(self) -> bytes:
        return self._events.farewell()

    def closing(self) -> bytes:
        return self._events.closing()

    async def count(self) -> None:
        """Count the rounds of the loop."""
        while True:
            self.rounds += 1
            await asyncio.sleep(0)


async def test_others_go_on_between_the_last_events_of_a_long_text(store: JobStore) -> None:
    """The text is in each of four events at the end of a response: none is made in the same go as the one before."""
    job = await JobLife(store).submit()
    await job.start()
    for _ in range(6):
        await job.write("x" * (LONG_BYTES // 5))
    await job.complete()

    watched = Watched(job.id)
    source = TranslatedSource(store.jobs_of(None), store.keys, job.id, SharedReads(), watched)
    counting = asyncio.create_task(watched.count())
    cursor, ended = None, False
    while not ended:
        batch = await source.read(cursor, NOTIFIED)
        cursor, ended = batch.cursor, batch.ended
    counting.cancel()

    long = [(size, rounds) for size, rounds in watched.seen if size > LONG_BYTES]
    assert all(size < len(job.text) + 4_000 for size, _ in long)
    assert len({rounds for _, rounds in long}) == len(long) == 4
