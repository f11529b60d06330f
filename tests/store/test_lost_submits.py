"""A submit whose answer is lost where commands are billed: there it does not check whether its job exists."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from shared.errors import StoreUnavailable
from shared.settings import StoreSettings
from shared.store.job_store import open_store
from tests.support.checks import RawRedis
from tests.support.store import KEYS, new_job, submit


async def test_a_submit_whose_answer_was_lost_is_sent_once(redis_url: str) -> None:
    """The connection breaks after the server took a submit and before its answer: it is not sent again.
    The pay-per-command profile relies on that: there a submit does not check whether its job exists."""
    async with _answers_cut(redis_url) as (url, cut), RawRedis(redis_url) as raw:
        settings = StoreSettings(redis_url=url, frugal=True, deltas=False)
        async with open_store(settings, client_name="test") as store:
            await submit(store, 1)
            await raw("CONFIG", "RESETSTAT")
            cut.set()
            with pytest.raises(StoreUnavailable):
                await store.submit(new_job())
            cut.clear()
            assert "cmdstat_evalsha:calls=1," in (await raw("INFO", "commandstats")).decode()
            assert (await store.queries.stats()).queued == 2
            assert await raw("XLEN", KEYS.fixed("line")) == 1
            assert await raw("ZCARD", KEYS.prefix("backlog") + "org") == 1


@asynccontextmanager
async def _answers_cut(redis_url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A way to the server that, while the event is set, breaks where an answer should come."""
    cut, path = asyncio.Event(), urlsplit(redis_url).path

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await reader.read(1 << 16):
            if answers and cut.is_set():
                break
            writer.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, ahead = await asyncio.open_unix_connection(path)
        ways = [
            asyncio.create_task(copy(reader, ahead, answers=False)),
            asyncio.create_task(copy(back, writer, answers=True)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for end in (ahead, writer):
            end.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", cut
