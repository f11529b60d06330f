"""Streams of a job through networks and services that break: each event once, in order, and the whole text (I10)."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import re
from collections.abc import AsyncIterator

import pytest
from presswork_client import (
    AsyncPresswork,
    Completed,
    Delta,
    Event,
    Gap,
    NotFound,
    Presswork,
    Processing,
    Unreachable,
    transport,
)

from tests.clients.python.reading import BOTH, PROMPT, first, followed, reading_of
from tests.e2e.conftest import StackMaker
from tests.support.callers import OPERATOR, TOKENS
from tests.support.cutting_proxy import running_cutting_proxy
from tests.support.processes import free_port
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(300)

CUTS, AT_ONCE = 50, 5
SHOWN = 6
"""Events after which a worker is killed: some text is there, and more to come."""


@pytest.mark.parametrize("kind", BOTH)
async def test_fifty_cuts_lose_nothing(stack: StackMaker, kind: str) -> None:
    """Connections are cut after random numbers of bytes; every event comes once, and texts are equal."""
    chance = random.Random(kind)

    def lives(_: bytes) -> int | None:
        return chance.randrange(1, 3000) if proxy.cuts < CUTS else None

    async def one(running: Stack, url: str, number: int) -> list[str]:
        job_id = await running.submit(number, prompt=PROMPT)
        reading = reading_of(job_id, await followed(kind, url, job_id))
        result = (await running.end(job_id))["result"]
        return [*reading.problems(), *(["other text"] if reading.events[-1][2]["result"] != result else [])]

    async with (
        stack(DEMO_TOKENS_PER_SECOND="60") as running,
        running_cutting_proxy(running.gateway.url, lives) as proxy,
    ):
        for start in itertools.count(0, AT_ONCE):
            numbers = range(start, start + AT_ONCE)
            found = await asyncio.gather(*(one(running, proxy.url, number) for number in numbers))
            assert [problems for problems in found if problems] == []
            if proxy.cuts >= CUTS:
                break


async def test_text_of_a_lost_attempt_does_not_hold(stack: StackMaker) -> None:
    """A killed worker's text is void: `so_far` begins again, and the end has the whole text once."""
    settings = {"LEASE_SECONDS": "2", "DEMO_TOKENS_PER_SECOND": "60"}
    async with stack(workers=2, **settings) as running, AsyncPresswork(running.gateway.url) as client:
        job = await client.submit(PROMPT, length="long")
        events = []
        async for event in job.events():
            events.append(event)
            if len(events) == SHOWN:
                await (await running.busy_worker()).kill()
        text = await job.text()

    assert reading_of(job.id, events).problems() == []
    assert [event.attempt for event in events if isinstance(event, Processing)] == [1, 1]
    restart = next(i for i, event in enumerate(events) if event.kind == "retrying")
    pieces = [event.text for event in events[restart:] if isinstance(event, Delta)]
    assert "".join(pieces) == events[-1].so_far == text


async def _collected(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


async def test_another_process_goes_on_where_one_stopped(stack: StackMaker) -> None:
    """With the id and the text of the last event; after the last one nothing comes, as the service answers 204."""
    async with stack(DEMO_TOKENS_PER_SECOND="200") as running, AsyncPresswork(running.gateway.url) as client:
        job = await client.submit(PROMPT)
        before = await first(job.events(), 4)
        known = before[-1]
        async with AsyncPresswork(running.gateway.url) as another:
            rest = await _collected(another.job(job.id).events(after=known.id, so_far=known.so_far))
            nothing = await _collected(another.job(job.id).events(after=rest[-1].id))
    assert reading_of(job.id, before + rest).problems() == []
    assert nothing == []


async def test_an_unknown_place_is_a_gap_with_the_text(stack: StackMaker) -> None:
    """A reader from before a lost log gets one gap, then the end with the whole text."""
    async with stack(DEMO_TOKENS_PER_SECOND="0") as running, AsyncPresswork(running.gateway.url) as client:
        job = await client.submit(PROMPT)
        text = await job.text()
        events = await _collected(job.events(after="n1-1.7", so_far="something else"))
    gap, end = events
    assert isinstance(gap, Gap)
    assert isinstance(end, Completed)
    assert end.so_far == text == end.view.text


async def test_a_job_that_is_gone_is_an_error(stack: StackMaker) -> None:
    """A deleted job's stream is NotFound, and so are its status and its result."""
    async with stack() as running, AsyncPresswork(running.gateway.url) as client:
        job = await client.submit(PROMPT, length="short")
        await job.result()
        await job.delete()
        for call in (_collected(job.events()), job.status(), job.result()):
            with pytest.raises(NotFound):
                await call


@pytest.mark.parametrize("kind", BOTH)
async def test_without_streams_the_status_is_asked(stack: StackMaker, kind: str) -> None:
    """A proxy that lets no stream through: a gap brings the text, and the end comes as it does otherwise."""
    async with stack(DEMO_TOKENS_PER_SECOND="200") as running:
        blocked = lambda request: 1 if b"/job-events" in request else None  # noqa: E731 - a choice in one line
        async with running_cutting_proxy(running.gateway.url, blocked) as proxy:
            job_id = await running.submit(1)
            gap, end = await followed(kind, proxy.url, job_id)
        text = (await running.end(job_id))["result"]
    assert isinstance(gap, Gap)
    assert isinstance(end, Completed)
    assert gap.so_far == end.so_far == text


async def test_the_gateway_serves_where_links_lead_nowhere(stack: StackMaker) -> None:
    """A link to a notifier that cannot be reached: the stream is read from the gateway's own origin."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    async with stack(PUBLIC_EVENTS_URL=nowhere) as running, AsyncPresswork(running.gateway.url) as client:
        job = await client.submit(PROMPT, length="short")
        reading = reading_of(job.id, await _collected(job.events()))
    assert reading.problems() == []


async def _submitted(kind: str, url: str) -> list[Event]:
    """All events of a new job, by the address that its submit answered."""
    if kind == "async":
        async with AsyncPresswork(url) as client:
            return await _collected((await client.submit(PROMPT, length="short")).events())

    def read() -> list[Event]:
        with Presswork(url) as client:
            return list(client.submit(PROMPT, length="short").events())

    return await asyncio.to_thread(read)


@pytest.mark.parametrize("kind", BOTH)
async def test_a_stream_that_never_begins_is_given_up_soon(
    stack: StackMaker, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link leads to a server that takes requests and says nothing: the gateway's own is asked, long before a
    stream that has begun would count as broken."""
    monkeypatch.setattr(transport, "FIRST_S", 0.5)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client leaves
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        mute = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with stack(PUBLIC_EVENTS_URL=mute, DEMO_TOKENS_PER_SECOND="200") as running:
            async with asyncio.timeout(30):
                events = await _submitted(kind, running.gateway.url)
    assert reading_of(events[0].job_id, events).problems() == []


@pytest.mark.parametrize("kind", BOTH)
async def test_a_stream_that_has_begun_may_be_silent(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For longer than its first answer may take: the connection stays."""
    monkeypatch.setattr(transport, "FIRST_S", 0.5)
    job_id, connections = "ai-job-1737465123456-0bc123def", 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        await asyncio.sleep(1.5)
        writer.write(f'event: cancelled\ndata: {{"jobId":"{job_id}","status":"cancelled"}}\n\n'.encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        (end,) = await followed(kind, url, job_id)
    assert (end.kind, connections) == ("cancelled", 1)


async def test_a_stream_elsewhere_gets_a_ticket_and_no_key(
    stack: StackMaker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notifier on an origin of its own is asked with the link's ticket, which is in no log, and without the key."""
    seen: list[bytes] = []
    caplog.set_level(logging.INFO, logger="httpx2")
    # What configures logging in this process may have turned off loggers that were there.
    monkeypatch.setattr(logging.getLogger("httpx2"), "disabled", False)

    def lives(request: bytes) -> None:
        seen.append(request)

    async with running_cutting_proxy("", lives) as proxy:
        settings = {"API_TOKENS": TOKENS, "PUBLIC_EVENTS_URL": proxy.url}
        async with stack(**settings) as running, AsyncPresswork(running.gateway.url, OPERATOR) as client:
            proxy.target = running.notifier.url
            job = await client.submit(PROMPT, organization="alice", length="short")
            reading = reading_of(job.id, await _collected(job.events()))
    assert reading.problems() == []
    assert [b"ticket=" in request for request in seen] == [True]
    assert OPERATOR.encode() not in seen[0]
    logged = [record.getMessage() for record in caplog.records]
    assert any("ticket=…" in line for line in logged)
    assert not any(re.search("ticket=[^…]", line) for line in logged)


@pytest.mark.parametrize("kind", BOTH)
async def test_patience_ends(kind: str) -> None:
    """A service that is not there is an error after the patience that the caller has, and no sooner."""
    began = asyncio.get_running_loop().time()
    with pytest.raises(Unreachable):
        await followed(kind, f"http://127.0.0.1:{free_port()}", "ai-job-1737465123456-0bc123def", patience=1.0)
    assert 0.25 < asyncio.get_running_loop().time() - began < 20  # two waits of 0.1 s and 0.2 s at least
