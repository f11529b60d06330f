"""Streams of one job in another protocol than ours: each reader has its own translation, and they share the reads."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Final, Protocol

from shared.events import EventId, JobEvent
from shared.store.keys import Keys
from shared.store.reading.event_log import EventPage
from shared.store.tenant_jobs import TenantJobs
from shared.streams.sources import Batch, JobPages, SharedReads

LONG_BYTES: Final = 1 << 20
"""Bytes of a piece after which others are let in: the end of a job may hold its text many times over."""


class Translation(Protocol):
    """Turns a job's events into another protocol's, from the first one on; it may remember those before."""

    over: bool
    """Whether the stream ends here, although the job may go on."""

    def feed(self, event: JobEvent) -> Iterator[bytes]:
        """The events there that this one becomes, encoded, in pieces that are made when they are asked for."""
        ...

    def farewell(self) -> bytes:
        """The last bytes when there is nothing to be read any more."""
        ...

    def closing(self) -> bytes:
        """The last bytes of a stream that ends before its job does, and before the translation is over."""
        ...


class TranslatedSource(JobPages):
    """The events of a job for one reader. It is always read from the beginning: what a reader that comes back has
    already, its translation leaves out."""

    opening = b""

    def __init__(self, jobs: TenantJobs, keys: Keys, job_id: str, reads: SharedReads, translation: Translation) -> None:
        super().__init__(jobs, keys, job_id, reads)
        self._translation = translation

    async def read(self, cursor: EventId | None, notified: bytes) -> Batch[EventId]:
        """See `Source`."""
        page = await self.shared("page", cursor, notified, _as_it_is)
        encoded, kinds = [], Counter[str]()
        for event in page.events:
            for piece in self._translation.feed(event):
                encoded.append(piece)
                if len(piece) > LONG_BYTES:
                    await asyncio.sleep(0)
            kinds[str(event.kind)] += 1
            if self._translation.over:
                break

        over = self._translation.over
        return Batch(
            b"".join(encoded),
            page.cursor,
            page.ended or over,
            kinds,
            page.organization_id,
            more=page.more and not over,
            leases=page.leases,
            mark=page.mark,
        )

    def farewell(self) -> bytes:
        """See `Source`."""
        return self._translation.farewell()

    def closing(self, *, stopped: bool) -> bytes:  # noqa: ARG002 - its readers come back, or do not, by themselves
        """See `Source`."""
        return self._translation.closing()


def _as_it_is(page: EventPage) -> EventPage:
    return page
