"""Connections on which nothing is answered end in time, also with a trickle of bytes, and give way when there are too
many."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterator

import pytest

from shared.server import connections, http11, serve
from tests.support.connections import Connection
from tests.support.slow_application import HOST, LARGE, running_application

SOON = 0.4
POST = b"POST /read HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n"
KINDS = {
    "nothing": (b"", b""),
    "a lone line end": (b"\r\n", b""),
    "line ends that trickle": (b"\r\n", b"\r\n"),
    "a head that trickles": (b"GET /o", b"k"),
    "a body that never begins": (POST + b"\r\n", b""),
    "a body that trickles": (POST + b"\r\nx", b"x"),
    "chunks that trickle": (
        POST.replace(b"Content-Length: 100", b"Transfer-Encoding: chunked") + b"\r\n",
        b"1\r\nx\r\n",
    ),
    "a promise": (POST + b"Expect: 100-continue\r\n\r\n", b""),
    "a body after a refusal": (POST.replace(b"/read", b"/refuse") + b"\r\nx", b"x"),
    "a body nobody reads": (POST.replace(b"/read", b"/ok").replace(b"POST", b"GET") + b"\r\n", b"x"),
    "silence after an answer": (b"GET /ok HTTP/1.1\r\n" + HOST + b"\r\n", b""),
    "line ends after an answer": (b"GET /ok HTTP/1.1\r\n" + HOST + b"\r\n", b"\r\n"),
    "half a request after an answer": (b"GET /ok HTTP/1.1\r\n" + HOST + b"\r\nGET /", b"o"),
}


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every deadline comes soon."""
    monkeypatch.setattr(serve, "KEEP_ALIVE_SECONDS", SOON)
    monkeypatch.setattr(http11, "HEAD_SECONDS", SOON)
    monkeypatch.setattr(http11, "BODY_SECONDS", SOON)
    monkeypatch.setattr(connections, "READ_SECONDS", SOON)


async def _until_closed(connection: Connection, trickle: bytes) -> float:
    """Send on, a little at a time, until the server closes; how long that took."""
    started = time.monotonic()
    closed = asyncio.create_task(_drained(connection))
    while not closed.done() and time.monotonic() - started < 60:
        connection.send(trickle)
        await asyncio.wait([closed], timeout=0.05)
    assert closed.done(), "it is open for ever"
    await closed
    return time.monotonic() - started


async def _drained(connection: Connection) -> None:
    try:
        while await connection.read(1 << 20):
            pass
    except ConnectionError:
        pass


@pytest.mark.usefixtures("soon")
async def test_bytes_do_not_move_a_deadline() -> None:
    """Silent or trickling, before a request, within one or behind one: each connection is closed at its time."""
    async with running_application() as (running, _):

        async def open_for(kind: str) -> float:
            first, trickle = KINDS[kind]
            connection = await running.connect()
            connection.send(first)
            return await _until_closed(connection, trickle)

        took = dict(zip(KINDS, await asyncio.gather(*map(open_for, KINDS)), strict=True))
    assert {kind: seconds for kind, seconds in took.items() if seconds <= SOON * 0.5} == {}


@pytest.mark.usefixtures("soon")
async def test_an_answer_that_takes_long_is_waited_for() -> None:
    """While a request is answered there is no deadline on its connection, also when the next one has begun."""
    async with running_application() as (running, application):
        connection = await running.connect()
        connection.send(b"GET /held HTTP/1.1\r\n" + HOST + b"\r\nGET /o")
        await asyncio.sleep(3 * SOON)
        application.may_answer.set()
        assert (await connection.answer())[::2] == (200, "held")
        connection.send(b"k HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await connection.answer())[::2] == (200, "ok")


@pytest.mark.usefixtures("soon")
async def test_an_answer_that_is_not_read_is_cut() -> None:
    """A client that asks and reads nothing keeps neither the answer in memory nor who writes it; one that asks for
    many answers in a row neither."""
    large = b"GET /large HTTP/1.1\r\n" + HOST
    small = b"GET /ok HTTP/1.1\r\nX: %s\r\n" % (b"x" * 999) + HOST
    async with running_application() as (running, application):

        async def received(requests: bytes) -> int:
            connection, found = await running.connect(limit=1), 0
            connection.send(requests)
            await asyncio.sleep(3 * SOON)
            try:
                while piece := await connection.read(1 << 20):
                    found += len(piece)
            except ConnectionError:
                pass
            return found

        rows = [large + b"\r\n", large + b"Connection: close\r\n\r\n", (small + b"\r\n") * 5000]
        reading = asyncio.gather(*map(received, rows))
        probe = await running.connect()
        probe.send(b"GET /ok HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await probe.answer())[0] == 200
        assert max(await reading) < LARGE
        assert application.ended == 2, "who writes it was let go"


@pytest.mark.usefixtures("soon")
async def test_a_slow_reader_gets_everything() -> None:
    """It is progress that counts, not how long the whole answer takes."""
    async with running_application() as (running, application):
        connection = await running.connect()
        connection.send(b"GET /large HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        received = 0
        while piece := await connection.read(256 * 1024):
            received += len(piece)
            await asyncio.sleep(0.02)
        assert received > LARGE
        assert application.ended == 1


async def test_the_longest_silent_connection_gives_way() -> None:
    """With all places taken by silent connections a new request is answered, and the oldest of them is gone."""
    async with running_application(connections=8) as (running, _):
        silent = [await running.connect() for _ in range(8)]
        silent[1].send(b"GET /o")
        asking = await running.connect()
        asking.send(b"GET /ok HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await asking.answer())[0] == 200
        await silent[0].closed()
        silent[7].send(b"GET /ok HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await silent[7].answer())[0] == 200


async def test_who_is_being_answered_does_not_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every place at work a new request gets 503, and health is answered nevertheless;
    beyond that connections are cut."""
    monkeypatch.setattr(connections, "SPARE", 4)
    async with running_application(connections=8) as (running, application):
        working = [await running.connect() for _ in range(8)]
        for connection in working:
            connection.send(b"GET /held HTTP/1.1\r\n" + HOST + b"\r\n")
        async with asyncio.timeout(30):
            while application.held < 8:
                await asyncio.sleep(0.01)
        late = await running.connect()
        late.send(b"GET /ok HTTP/1.1\r\n" + HOST + b"\r\n")
        await late.refused(503, "overloaded")
        for _ in range(30):
            probe = await running.connect()
            probe.send(b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n")
            assert (await probe.answer())[::2] == (200, "live")
        application.may_answer.set()
        for connection in working:
            assert (await connection.answer())[::2] == (200, "held")


async def test_a_long_row_of_requests_is_answered_so_far_and_closed() -> None:
    """No connection makes the server keep thousands of requests: those that were read are answered, in order."""
    async with running_application() as (running, _):
        connection = await running.connect()
        connection.send((b"GET /ok HTTP/1.1\r\n" + HOST + b"\r\n") * 5000)
        answers = 0
        try:
            while (await connection.answer())[0] == 200:
                answers += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        assert http11.PIPELINE_MAX <= answers < 5000


@pytest.fixture
def files() -> Iterator[None]:
    """The limit of open files is as it was, afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("files")
def test_there_are_never_more_connections_than_files() -> None:
    """The limit is raised as far as the system allows; files for other things are left."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    assert connections.capacity(10**9) < connections.allowed_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 512
    assert connections.capacity(5) == 5
