"""The fleet before its providers: real processes, the real SDKs, and a simulated one that counts its calls."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest

from tests.e2e.conftest import StackMaker
from tests.support.checks import RawRedis
from tests.support.llm import LlmServer, most_within
from tests.support.llm_behaviour import Behaviour, Failing
from tests.support.processes import free_port
from tests.support.stack import Stack
from tests.support.store import unblock_gate

pytestmark = pytest.mark.timeout(300)

KEY = "sk-planted-4f9c1d"
LATE_S = 1.0
"""Latest time at which a call may be sent that was let go in time."""
PROMPT = "a secret launch of the zebra umbrella"
OPENAI, ANTHROPIC = "openai:gpt-6-luna", "anthropic:claude-haiku-5-5"


def settings(llm: LlmServer, **more: str) -> dict[str, str]:
    """Settings of a fleet that prefers OpenAI and has Anthropic to fall back to."""
    return {
        "PROVIDERS": f"{OPENAI},{ANTHROPIC}",
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": llm.openai_url,
        "OPENAI_PRICED": "1",
        "ANTHROPIC_API_KEY": KEY,
        "ANTHROPIC_BASE_URL": llm.anthropic_url,
        "ANTHROPIC_PRICED": "1",
        **more,
    }


async def submit_many(running: Stack, count: int, **more: Any) -> list[str]:
    """Submit through the batch call; the ids in order."""
    jobs = [
        {"projectId": f"project-{i % 3}", "userId": "u", "organizationId": "org-789", "prompt": PROMPT, **more}
        for i in range(count)
    ]
    ids: list[str] = []
    for first in range(0, count, 500):
        answer = await running.client.post(
            f"{running.gateway.url}/api/ai/generate-content/batch", json={"jobs": jobs[first : first + 500]}
        )
        ids += [job["jobId"] for job in answer.raise_for_status().json()["jobs"]]
    return ids


async def until_stats(running: Stack, seconds: float, **wanted: int) -> dict[str, int]:
    """Wait until the queue's statistics are so; TimeoutError when they never are."""
    async with asyncio.timeout(seconds):
        while True:
            stats = await running.stats()
            if all(stats[name] == value for name, value in wanted.items()):
                return stats
            await asyncio.sleep(0.05)


async def until_free(running: Stack) -> None:
    """Wait until no worker holds a slot."""
    async with asyncio.timeout(30):
        while any([await running.metric(worker, "presswork_worker_slots_busy") for worker in running.workers]):
            await asyncio.sleep(0.02)


async def until_busy(running: Stack) -> None:
    """Wait until a worker streams text, or all is done."""
    async with asyncio.timeout(30):
        while (stats := await running.stats())["processing"] == 0 and stats["queued"] > 0:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)


async def usage(running: Stack) -> dict[str, Any]:
    """Usage of the organisation of these tests, today and yesterday (a run may cross midnight)."""
    days = [time.strftime("%Y-%m-%d", time.gmtime(time.time() - ago)) for ago in (86_400, 0)]
    answer = await running.client.get(
        f"{running.gateway.url}/api/ai/usage", params={"organizationId": "org-789", "from": days[0], "to": days[1]}
    )
    return dict(answer.raise_for_status().json())


async def test_a_rate_limited_provider_gets_few_calls_and_no_job_fails(stack: StackMaker, llm: LlmServer) -> None:
    """300 slots in two workers, 300 jobs, 429 with Retry-After: calls go out as a slow start allows until the first
    refusal comes, and none after; no slot is held, the rate rises slowly afterwards, and every job completes with its
    first attempt."""
    only = settings(llm, PROVIDERS=OPENAI, WORKER_CONCURRENCY="150")
    async with stack(workers=2, **only) as running:
        await llm.behave(Behaviour(fail=Failing(status=429, retry_after=600.0), tokens=4))
        ids = await submit_many(running, 300)
        await until_stats(running, 100.0, throttled=300, processing=0)
        await until_free(running)
        refused = await llm.calls()
        await llm.behave(Behaviour(tokens=4))
        async with RawRedis(running.server.url) as raw:
            await unblock_gate(raw, OPENAI)
        ids += await submit_many(running, 1)  # the worker that it wakes sees the others
        await until_stats(running, 100.0, completed=301)
        ends = [await running.end(job_id) for job_id in ids[::30]]
        calls = await llm.calls()
    heard_s = max(call.at for call in refused) - refused[0].at
    assert len(refused) <= 9 + _slow_start(heard_s + LATE_S)
    assert len([call for call in calls if call.status == 200]) == 301
    assert {(job["status"], job["attempt"]) for job in ends} == {("completed", 1)}
    served = sorted(call.at for call in calls if call.status == 200)
    assert all(number <= 9 + _slow_start(at - served[0] + LATE_S) for number, at in enumerate(served))


def _slow_start(seconds: float) -> float:
    """Calls that a gate lets pass in its first seconds: eight a second, doubled each second (docs/adr/0009)."""
    return 8 * (2**seconds - 1) / math.log(2)


async def test_a_limit_a_minute_holds_over_three_workers(stack: StackMaker, llm: LlmServer) -> None:
    """Never more calls than the fleet's share, however many workers there are, and most of it is used."""
    only = settings(llm, PROVIDERS=OPENAI, PROVIDER_LIMITS=f"{OPENAI}=600")
    async with stack(workers=3, **only) as running:
        await llm.behave(Behaviour(tokens=4, first_token_s=0.3))
        await submit_many(running, 100)
        await until_stats(running, 100.0, completed=100)
        calls = await llm.calls()
    # A share of 60 s is spread over 63.5 s, so calls may be 3.5 s late and keep it.
    assert most_within(calls, 4.0) <= (4.0 + 3.5) * 600 / 63.5 + 1
    assert max(call.at for call in calls) - calls[0].at < 10 * 100 * 63.5 / 600


async def test_jobs_complete_on_the_next_provider_while_the_first_is_down(stack: StackMaker, llm: LlmServer) -> None:
    """Nothing listens where the first should be: all jobs complete on the second, and say so."""
    down = settings(llm, OPENAI_BASE_URL=f"http://127.0.0.1:{free_port()}/v1")
    async with stack(**down) as running:
        await llm.behave(Behaviour(tokens=6))
        ids = await submit_many(running, 12)
        ends = [await running.end(job_id) for job_id in ids]
    assert {(job["status"], job["provider"], job["attempt"]) for job in ends} == {("completed", "anthropic", 1)}
    reasons = {passed["reason"] for job in ends for passed in job["passedOver"]}
    assert reasons <= {"unavailable", "ProviderUnreachable"}
    assert {passed["provider"] for job in ends for passed in job["passedOver"]} == {"openai"}


@pytest.mark.timeout(300)
async def test_sums_of_cost_equal_the_results_whatever_is_killed(stack: StackMaker, llm: LlmServer) -> None:
    """Three workers under kill -9 and restarts while 60 jobs stream: each is settled once, the organisation's sums are
    those of the results, and the tokens of lost workers are counted as wasted."""
    # Few slots: a lost worker's jobs run one at a time on those that are left.
    short = settings(llm, LEASE_SECONDS="1", WORKER_CONCURRENCY="6")
    async with stack(workers=3, **short) as running:
        await llm.behave(Behaviour(tokens=20, gap_s=0.02, first_token_s=0.05))
        ids = await submit_many(running, 60, parameters={"platform": "linkedin"}, maxAttempts=10)
        for turn in range(3):
            await until_busy(running)
            victim = running.workers[turn % 3]
            await victim.kill()
            victim.start()
        ends = [await running.end(job_id) for job_id in ids]
        used = await usage(running)
        wasted = 0.0
        for worker in running.workers:
            wasted += await running.metric(worker, 'presswork_wasted_tokens_total{reason="worker_lost"}')
    assert {job["status"] for job in ends} == {"completed"}
    nanos = [round(job["costUsd"] * 1e9) for job in ends]
    assert min(nanos) > 0
    assert used["totals"]["jobs"] == 60
    assert round(used["totals"]["costUsd"] * 1e9) == sum(nanos)
    assert used["totals"]["outputTokens"] == sum(job["usage"]["outputTokens"] for job in ends)
    assert used["totals"]["estimatedJobs"] == sum(job["usage"]["estimated"] for job in ends)
    assert wasted > 0


async def test_a_cancel_reaches_the_provider_at_once(stack: StackMaker, llm: LlmServer) -> None:
    """The provider sees its stream closed; the job keeps the text so far, with an estimate of its cost."""
    async with stack(**settings(llm, PROVIDERS=ANTHROPIC, LEASE_SECONDS="300")) as running:
        await llm.behave(Behaviour(tokens=3000, gap_s=0.02))
        job_id = await running.submit(1)
        async with asyncio.timeout(30):
            while not [call for call in await llm.calls() if call.tokens >= 10]:
                await asyncio.sleep(0.02)
        asked = time.time()
        answer = await running.client.post(f"{running.gateway.url}/api/ai/jobs/{job_id}/cancel")
        async with asyncio.timeout(30):
            while (call := (await llm.calls())[0]).end is None:
                await asyncio.sleep(0.02)
    job = answer.raise_for_status().json()
    assert call.end == "disconnected"
    assert call.ended_at is not None
    # Half a second is usual; a renewal of the lease, which would report it too, comes after a hundred.
    assert call.ended_at - asked < 50.0
    assert job["status"] == "cancelled"
    assert job["result"]
    assert job["usage"]["estimated"]
    assert job["costUsd"] > 0


async def test_no_key_prompt_or_answer_is_logged_or_measured(stack: StackMaker, llm: LlmServer) -> None:
    """Calls that succeed, are refused, break and are cancelled: planted texts are in no log, metric or error."""
    async with stack(**settings(llm, MAX_ATTEMPTS="1")) as running:
        problems = [
            Behaviour(tokens=6),
            Behaviour(fail=Failing(status=401, body={"error": {"message": f"{KEY} {PROMPT}", "type": PROMPT}})),
            Behaviour(fail=Failing(status=400, body={"error": {"message": PROMPT, "code": PROMPT}})),
            Behaviour(fail=Failing(status=500, body={"error": {"message": PROMPT}})),
            Behaviour(tokens=6, cut="drop", cut_after=3),
            Behaviour(raw=[f"data: {{{PROMPT}\n\n"]),
        ]
        ends = []
        for behaviour in problems:
            await llm.behave(behaviour)
            (job_id,) = await submit_many(running, 1)
            ends.append(await running.end(job_id))
        services = [running.gateway, running.notifier, *running.workers]
        texts = [(await running.client.get(f"{service.url}/metrics")).text for service in services]
        texts += [service.log.read_text(errors="replace") for service in services]
        texts += [str(job.get("error")) for job in ends]
    answer = ends[0]["result"]
    assert [job["status"] for job in ends] == ["completed", *["failed"] * 5]
    for text in texts:
        for planted in (KEY, PROMPT, "zebra", answer):
            assert planted not in text
