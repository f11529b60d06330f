"""Events of a client as the other tests judge them, read by either client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from presswork_client import AsyncPresswork, Event, Gap, Presswork

from tests.support.readings import Reading

BOTH = ("sync", "async")
PROMPT = "Write a post about Bäckerei Müller \U0001f35e\U0001f950 & Söhne\u2028"
"""Characters of two to four bytes, and a line separator that is none in a stream: cuts fall into them."""


def reading_of(job_id: str, events: list[Event]) -> Reading:
    """The same events; the text that each says holds is checked against its pieces."""
    reading, text = Reading(job_id), ""
    for event in events:
        if isinstance(event, Gap):
            reading.gaps += 1
            text = event.so_far
            continue
        raw: dict[str, Any] = dict(event.raw)
        text = {"processing": "", "delta": text + raw.get("text", "")}.get(event.kind, raw.get("result") or text)
        assert event.so_far == text
        reading.events.append((event.id, event.kind, raw))
    return reading


async def followed(kind: str, url: str, job_id: str, *, key: str | None = None, patience: float = 60) -> list[Event]:
    """All events of a job, read by the client of this kind."""
    if kind == "async":
        async with AsyncPresswork(url, key, patience=patience) as client:
            return [event async for event in client.job(job_id).events()]

    def read() -> list[Event]:
        with Presswork(url, key, patience=patience) as client:
            return list(client.job(job_id).events())

    return await asyncio.to_thread(read)


async def first(events: AsyncIterator[Event], count: int) -> list[Event]:
    """The first events."""
    taken: list[Event] = []
    async for event in events:
        taken.append(event)
        if len(taken) == count:
            break
    return taken
