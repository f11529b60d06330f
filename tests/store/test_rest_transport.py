"""Redis over REST: the same replies and errors as over a socket, each command once, nothing said of the token."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import NoScriptError, OutOfMemoryError, ResponseError

from shared.errors import StoreFull, StoreUnavailable
from shared.job import JobStatus
from shared.settings import RestEndpoint, StoreSettings
from shared.store.connection.rest import PIPELINE_COMMANDS, RestTransport
from shared.store.job_store import JobStore, open_store
from tests.support.checks import RawRedis
from tests.support.processes import free_port
from tests.support.store import complete, new_job
from tests.support.upstash import TOKEN, Upstash


@pytest.fixture
def url(redis_url: str) -> str:
    """One kind of server: what differs is behind the endpoint."""
    return redis_url


@pytest.fixture
async def rest(upstash: Upstash) -> AsyncIterator[RestTransport]:
    """A transport to it."""
    transport = RestTransport(RestEndpoint(upstash.url, TOKEN), timeout=5.0)
    yield transport
    await transport.aclose()


async def test_replies_have_the_shapes_of_a_socket(rest: RestTransport, raw: RawRedis) -> None:
    """Bytes, numbers, null, OK and nested arrays answer exactly as RESP2 does."""
    text = 'Grüße \x00 \\"😀\n'
    assert await rest.execute("SET", "k", text, "EX", 100) == b"OK"
    assert await rest.execute(b"APPEND", b"k", "OK") == len(text.encode()) + 2
    await raw("HSET", "bytes", "f", os.urandom(64))
    await rest.execute("XADD", "s", "*", "j", "1")
    await rest.execute("ZADD", "z", 1.5, "m")
    script = "return {1, {'a', false, {}}, 'OK', redis.call('GET', 'none')}"
    for command in [
        ("GET", "k"), ("GET", "none"), ("HGETALL", "bytes"), ("XRANGE", "s", "-", "+"), ("EVAL", script, 0),
        ("ZSCORE", "z", "m"), ("SET", "o", "OK"), ("GET", "o"), ("MGET", "k", "none"), ("STRLEN", "k"),
    ]:  # fmt: skip
        assert await rest.execute(*command) == await raw(*command), command


async def test_calls_of_one_iteration_are_one_request(rest: RestTransport, upstash: Upstash) -> None:
    """One command is a POST to the root, several of a turn one pipeline, and too many are shared out; order is kept."""
    await rest.execute("SET", "n", 0)
    await asyncio.gather(*(rest.execute("GET", "n") for _ in range(3)))
    count = PIPELINE_COMMANDS + 2
    assert await asyncio.gather(*(rest.execute("ECHO", str(i)) for i in range(count))) == [
        str(i).encode() for i in range(count)
    ]
    posts = [(path, commands) for _, path, commands in upstash.requests]
    assert posts[:2] == [("/", 1), ("/pipeline", 3)]
    assert sorted(posts[2:]) == [("/pipeline", 2), ("/pipeline", PIPELINE_COMMANDS)]


async def test_large_commands_do_not_share_a_request(rest: RestTransport, upstash: Upstash) -> None:
    """Requests stay under 10 MB; a command that alone is larger is refused here, in the server's words."""
    await asyncio.gather(*(rest.execute("SET", f"k{i}", "x" * 4_000_000) for i in range(3)))
    assert sorted(commands for _, _, commands in upstash.requests) == [1, 2]
    with pytest.raises(ResponseError, match="max request size"):
        await rest.execute("SET", "k", "x" * 10_000_000)


async def test_refusals_are_the_exceptions_of_a_socket(rest: RestTransport, raw: RawRedis) -> None:
    """NOSCRIPT, NOGROUP, OOM and wrong types raise the errors of redis-py, alone and beside a command that works."""
    for alone in (True, False):
        for command, kind, text in [
            (("EVALSHA", "0" * 40, 0), NoScriptError, "No matching script"),
            (("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"), ResponseError, "NOGROUP"),
            (("EVAL", "return redis.error_reply('OOM no memory')", 0), OutOfMemoryError, "no memory"),
            (("NOSUCH",), ResponseError, "unknown command"),
        ]:
            calls = [rest.execute(*command)] + ([] if alone else [rest.execute("ECHO", "x")])
            refused, *others = await asyncio.gather(*calls, return_exceptions=True)
            with pytest.raises(kind, match=text):
                raise refused
            assert others == ([] if alone else [b"x"])
    assert await raw("EXISTS", "s") == 0


async def test_the_sync_token_travels_from_answer_to_request(rest: RestTransport, upstash: Upstash) -> None:
    """Each request carries the token of the last answer, so that a reader sees this process' writes."""
    for _ in range(3):
        await rest.execute("PING")
    assert upstash.sync_tokens == ["sync-1", "sync-2"]


async def test_the_token_is_in_the_header_alone(rest: RestTransport, upstash: Upstash) -> None:
    """No path, query or error holds it, nor the text of the settings."""
    await rest.execute("PING")
    assert all(TOKEN not in path for _, path, _ in upstash.requests)
    assert upstash.headers[-1][b"authorization"] == f"Bearer {TOKEN}".encode()
    assert TOKEN not in repr(StoreSettings(redis_url="redis://x", rest=RestEndpoint(upstash.url, TOKEN)))
    upstash.token = "another"
    with pytest.raises(StoreUnavailable, match="refused the token") as raised:
        await rest.execute("PING")
    assert TOKEN not in str(raised.value)
    assert not raised.value.sent


@pytest.mark.parametrize(("status", "sent"), [(400, None), (405, None), (429, None), (500, True), (502, True)])
async def test_statuses_tell_whether_the_command_was_run(
    rest: RestTransport, upstash: Upstash, status: int, sent: bool | None
) -> None:
    """Below 500 the whole request was refused; from 500 on it is not known."""
    upstash.status = status
    with pytest.raises(ResponseError if sent is None else StoreUnavailable) as raised:
        await rest.execute("SET", "k", 1)
    assert sent is None or getattr(raised.value, "sent", None) is sent
    assert [commands for _, _, commands in upstash.requests] == [0]


async def test_a_lost_answer_is_unsure_and_sent_once(rest: RestTransport, upstash: Upstash, raw: RawRedis) -> None:
    """The connection breaks after the effect: StoreUnavailable with `sent`; the command ran once, the next works."""
    for fault in ("lose", "garble"):
        setattr(upstash, fault, 1)
        with pytest.raises(StoreUnavailable) as raised:
            await rest.execute("INCR", fault)
        assert raised.value.sent
        assert await raw("GET", fault) == b"1"
        assert await rest.execute("INCR", fault) == 2


async def test_an_endpoint_that_is_away_was_sent_nothing(upstash: Upstash) -> None:
    """A refused connection is StoreUnavailable without `sent`."""
    away = RestTransport(RestEndpoint(f"http://127.0.0.1:{free_port()}", TOKEN), timeout=1.0)
    with pytest.raises(StoreUnavailable, match="cannot be reached") as raised:
        await away.execute("PING")
    assert not raised.value.sent
    await away.aclose()
    with pytest.raises(StoreUnavailable, match="closed"):
        await away.execute("PING")
    assert upstash.requests == []


async def test_a_slow_endpoint_costs_the_time_out(upstash: Upstash) -> None:
    """A caller waits for the time-out and no longer; the command may have taken effect."""
    upstash.latency_s = 60.0
    rest = RestTransport(RestEndpoint(upstash.url, TOKEN), timeout=0.5)
    began = asyncio.get_running_loop().time()
    with pytest.raises(StoreUnavailable, match=r"within 0\.5 s") as raised:
        await rest.execute("SET", "k", 1)
    await rest.aclose()
    assert raised.value.sent
    assert asyncio.get_running_loop().time() - began < 30


async def test_a_whole_job_over_rest(upstash: Upstash, url: str, store: JobStore, raw: RawRedis) -> None:
    """Scripts are loaded, groups are made, and a job that is submitted over REST is run over TCP and read over REST."""
    settings = StoreSettings(
        redis_url=url, rest=RestEndpoint(upstash.url, TOKEN), redis_transport="rest", lease_seconds=2.0
    )
    await raw("SCRIPT", "FLUSH")
    async with open_store(settings, client_name="rest") as over_rest:
        jobs = [new_job(idempotency_key=f"k{i}", fingerprint="f") for i in range(3)]
        first = await asyncio.gather(*(over_rest.submit(job) for job in jobs))
        assert [answer.created for answer in first] == [True] * 3
        assert not (await over_rest.submit(jobs[0])).created
        claimed = await store.claim("w", 5, poll=True, suspect=True)
        for held in claimed.claims:
            await complete(store, held, "text 😀")
        snapshot = await over_rest.status(jobs[0].id)
        assert snapshot is not None
        assert snapshot.status is JobStatus.COMPLETED
        assert snapshot.outcome is not None
        assert snapshot.outcome.result == "text 😀"
        assert (await over_rest.queries.stats()).completed == 3
        with pytest.raises(StoreUnavailable, match="cannot block"):
            await over_rest.wait_for_work(10)
    assert {"SUBSCRIBE", "BZPOPMIN"}.isdisjoint(upstash.commands)


async def test_a_full_database_refuses_new_jobs_alone(upstash: Upstash, url: str, raw: RawRedis) -> None:
    """A server without memory is StoreFull over REST too."""
    settings = StoreSettings(redis_url=url, rest=RestEndpoint(upstash.url, TOKEN), redis_transport="rest")
    async with open_store(settings, client_name="rest") as over_rest:
        await over_rest.queries.stats()
        await raw("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreFull):
            await over_rest.submit(new_job())
