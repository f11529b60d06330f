"""A host whose quota is used up: pause, say so once, never a tight loop; a full database refuses new jobs alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from redis.exceptions import ResponseError

from shared.errors import QuotaExceeded, StoreFull, StoreUnavailable
from shared.settings import RestEndpoint, StoreSettings
from shared.store.connection import quota, server_errors
from shared.store.connection.quota import Guarded, Quota
from shared.store.engine.calls import check_item
from shared.store.job_store import open_store
from tests.support.gateway import STATUS, SUBMIT, body, problem, running_gateway
from tests.support.plain import NO_TLS
from tests.support.processes import ServiceProcess
from tests.support.quota_proxy import running_quota_proxy
from tests.support.store import new_job
from tests.support.upstash import QUOTAS, TOKEN, running_upstash

CAPACITY = "ERR DB capacity quota exceeded. Limit: 268435456 bytes, Usage: 268435457 bytes"


class Scripted:
    """A transport that gives set answers and counts."""

    def __init__(self) -> None:
        self.refusal = ""
        self.sent = 0

    async def execute(self, *_: bytes | str | float) -> bytes:
        """One answer."""
        self.sent += 1
        await asyncio.sleep(0)
        if self.refusal:
            raise ResponseError(self.refusal)
        return b"OK"


@pytest.mark.parametrize("text", QUOTAS.values())
async def test_a_pause_sends_nothing_and_ends_with_one_probe(text: str) -> None:
    """Both texts begin a pause of 30 s that doubles to 10 min; after each one command tries alone; success ends it."""
    now = [0.0]
    inner, known = Scripted(), Quota(lambda: now[0])
    guarded = Guarded(inner, known)
    inner.refusal = text
    pauses = list[float]()
    for _ in range(8):
        sent = inner.sent
        answers = await asyncio.gather(*(guarded.execute("GET", "k") for _ in range(5)), return_exceptions=True)
        assert all(isinstance(answer, QuotaExceeded) for answer in answers)
        # The first time it was not known: calls under way were sent.
        assert inner.sent - sent == (5 if not pauses else 1)
        pauses.append(known.left_s)
        with pytest.raises(QuotaExceeded) as refused:
            await guarded.execute("GET", "k")
        assert refused.value.retry_after_s == pytest.approx(known.left_s)
        now[0] += known.left_s
    assert pauses[0] <= quota.FIRST_PAUSE_S
    assert all(0.9 * quota.LONGEST_PAUSE_S <= pause <= quota.LONGEST_PAUSE_S for pause in pauses[5:])
    inner.refusal = ""
    assert await guarded.execute("GET", "k") == b"OK"
    assert known.refusals == 0
    assert len(await asyncio.gather(*(guarded.execute("GET", "k") for _ in range(5)))) == 5


async def test_a_sleep_never_tries_whether_the_pause_is_over(redis_url: str) -> None:
    """It could block everybody else for minutes: while the quota counts as used up a worker does not begin to sleep."""
    async with (
        running_quota_proxy(redis_url) as proxy,
        open_store(StoreSettings(redis_url=proxy.url), client_name="sleeper") as store,
    ):
        proxy.refusal = QUOTAS["month"]
        for _ in range(3):
            with pytest.raises(QuotaExceeded):
                await store.wait_for_work(1000)
        # The greeting of its connection was refused as well; only the command counts.
        assert proxy.refused == {"EVAL": 1, "BZPOPMIN": 1}
        proxy.refusal = ""
        store._connections.quota._until = 0.0  # the pause is over
        with pytest.raises(QuotaExceeded):
            await store.wait_for_work(1000)
        await store.queries.stats()
        assert not store.quota_exceeded
        assert not (await store.wait_for_work(1)).value


async def test_free_commands_say_nothing_of_the_quota() -> None:
    """PING is answered all the while, and does not end the pause."""
    inner, known = Scripted(), Quota(lambda: 0.0)
    guarded = Guarded(inner, known)
    inner.refusal = QUOTAS["month"]
    with pytest.raises(QuotaExceeded):
        await guarded.execute("GET", "k")
    inner.refusal = ""
    await guarded.execute("PING")
    with pytest.raises(QuotaExceeded):
        await guarded.execute("GET", "k")


def test_refusals_in_mid_script_are_distinguished() -> None:
    """An item that the quota cut is passing, one without room is StoreFull, and neither is a lost lease."""
    for text in QUOTAS.values():
        with pytest.raises(QuotaExceeded):
            check_item([b"ERROR", text.encode()])
    with pytest.raises(StoreFull):
        check_item([b"ERROR", CAPACITY.encode()])
    assert isinstance(server_errors.of_call(ResponseError(CAPACITY)), StoreFull)
    assert not isinstance(server_errors.of_call(ResponseError("ERR other")), StoreFull)


@pytest.mark.parametrize("which", ["day", "month"])
async def test_the_gateway_over_rest_answers_503_and_asks_seldom(redis_url: str, which: str) -> None:
    """Every call is 503 store-quota with Retry-After, hardly a request goes out, and a metric says why."""
    async with running_upstash(redis_url) as upstash:
        rest = {"UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": TOKEN, "REDIS_TRANSPORT": "rest"}
        async with running_gateway(redis_url, **rest) as client:
            job = (await client.post(SUBMIT, json=body())).json()["jobId"]
            upstash.quota = which
            sent = len(upstash.requests)
            for _ in range(10):
                for answer in (
                    await client.post(SUBMIT, json=body()),
                    await client.get(STATUS, params={"jobId": job, "wait": 5}),
                    await client.get("/api/ai/queue-stats"),
                ):
                    document = problem(answer, 503, "store-quota")
                    assert 1 <= int(answer.headers["retry-after"]) <= 30
                    assert "jobId" not in document
            assert len(upstash.requests) - sent <= 2
            assert "presswork_redis_quota_exceeded 1.0" in (await client.get("/metrics")).text


async def test_worker_and_notifier_pause(redis_url: str, tmp_path: Path) -> None:
    """Idle, asked and probed, every command refused: a handful of commands in 3 s, one log line, both alive."""
    async with running_quota_proxy(redis_url) as proxy:
        environment = {"REDIS_URL": proxy.url, "LEASE_SECONDS": "1"}
        worker = ServiceProcess("worker", environment, tmp_path / "worker.log")
        notifier = ServiceProcess("notifier", environment, tmp_path / "notifier.log")
        async with worker, notifier, httpx.AsyncClient(verify=NO_TLS) as client:
            proxy.refusal = QUOTAS["day"]
            until = asyncio.get_running_loop().time() + 3
            while asyncio.get_running_loop().time() < until:
                stream = await client.get(
                    f"{notifier.url}/api/ai/job-events", params={"jobId": "ai-job-1737465123456-0bc123def"}
                )
                assert stream.status_code == 200
                assert "retry:" in stream.text
                for service in (worker, notifier):
                    assert (await client.get(f"{service.url}/health/live")).status_code == 200
            assert 1 <= proxy.refused.total() <= 8, proxy.refused
            assert "presswork_redis_quota_exceeded 1.0" in (await client.get(f"{worker.url}/metrics")).text
        for service in (worker, notifier):
            assert service.log.read_text().count("redis_quota_exceeded") == 1


async def test_a_full_database_over_rest_is_store_full(redis_url: str) -> None:
    """Upstash's own words for it are 503 store-full on a submit."""
    async with running_quota_proxy(redis_url) as proxy:
        settings = StoreSettings(redis_url=proxy.url)
        async with open_store(settings, client_name="full") as store:
            await store.queries.stats()
            proxy.refusal = CAPACITY
            with pytest.raises(StoreFull):
                await store.submit(new_job())
            assert not store.quota_exceeded
    away = StoreSettings(redis_url="redis://x", rest=RestEndpoint("http://127.0.0.1:1", "t"), redis_transport="rest")
    async with open_store(away, client_name="away") as store:
        with pytest.raises(StoreUnavailable):
            await store.queries.stats()
