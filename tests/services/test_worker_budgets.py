"""Real workers under a budget: whatever comes at once, and whatever providers report, it is never passed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from services.worker.loops import budget_watch
from services.worker.providers import Action, Completion, GenerationRequest, ProviderError
from shared.job import JobError, Usage
from shared.settings import StoreSettings
from shared.store.job_store import open_store
from tests.support.budgets import Sums, today_of, true_sums
from tests.support.checks import RawRedis
from tests.support.store import error_of, new_job, settle, submit
from tests.support.worker import Scripted, ended, running_worker, until

TOKENS = 1000
PRICE = 100.0
"""Nano-USD a token, read or written."""


async def _is_thrifty(_: GenerationRequest) -> AsyncIterator[str | Completion]:
    await asyncio.sleep(0.01)
    yield "text"
    yield Completion(usage=Usage(input_tokens=1, output_tokens=TOKENS), finish_reason="stop")


async def _exaggerates(_: GenerationRequest) -> AsyncIterator[str | Completion]:
    yield "text"
    yield Completion(usage=Usage(input_tokens=1, output_tokens=100 * TOKENS), finish_reason="stop")


def _provider(stream: object = _is_thrifty, price: float | None = PRICE) -> Scripted:
    made = Scripted(stream)  # type: ignore[arg-type]
    made.price = price
    return made


@pytest.fixture
def settings(redis_url: str) -> StoreSettings:
    """Of the worker and of the test alike."""
    return StoreSettings(redis_url=redis_url, lease_seconds=2.0)


async def test_two_hundred_at_once_do_not_pass_a_budget_for_ten(settings: StoreSettings) -> None:
    """Two workers run as many as fit; at no time is more spent and reserved, and the results have the same sum."""
    provider = _provider()
    async with (
        open_store(settings, client_name="t") as store,
        RawRedis(settings.redis_url) as raw,
    ):
        budget = 10 * 110_000
        await settle(store, "org", month_nano_usd=budget, day_nano_usd=budget)
        ids = await submit(store, 200, max_tokens=TOKENS)
        async with running_worker(settings, {"p": provider}), running_worker(settings, {"p": provider}):

            async def nothing_fits() -> bool:
                sums = await today_of(raw)
                assert sums.spent + sums.reserved <= budget
                return sums.reserved == 0 and sums.spent > budget - 200_000

            await until(nothing_fits)
        sums = await today_of(raw)
        assert sums == await true_sums(raw, ids, "org")
        assert sums.reserved == 0
        assert 5 <= provider.calls <= 10


async def test_what_a_provider_reports_above_the_bound_is_cut(settings: StoreSettings) -> None:
    """To what was reserved; the usage counts as estimated, and the log says so. Without a budget it stays as it is."""
    async with open_store(settings, client_name="t") as store, RawRedis(settings.redis_url) as raw:
        await settle(store, "org", day_nano_usd=10**12)
        with capture_logs() as logs:
            async with running_worker(settings, {"p": _provider(_exaggerates)}):
                (cut,) = await submit(store, max_tokens=TOKENS)
                (whole,) = await submit(store, max_tokens=TOKENS, organization="free")
                outcomes = [(await ended(store, job_id)).outcome for job_id in (cut, whole)]
        spent = (await today_of(raw)).spent
        assert TOKENS * PRICE < spent < 2 * TOKENS * PRICE
        first, second = outcomes
        assert first is not None
        assert second is not None
        assert (round((first.cost_usd or 0) * 1e9), second.cost_usd) == (spent, (100 * TOKENS + 1) * PRICE / 1e9)
        assert first.usage is not None
        assert first.usage.estimated
        assert [log["event"] for log in logs].count("reported_cost_cut") == 1


async def test_a_fallback_has_a_bound_of_its_own(settings: StoreSettings) -> None:
    """The dearer gate's price is reserved before its call, and its call is cut to that."""

    async def fails(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        raise ProviderError(JobError(type="ProviderUnavailable", message="down", retryable=True), Action.RETRY)
        yield ""

    cheap, dear = _provider(fails, 1.0), _provider(_is_thrifty)
    async with open_store(settings, client_name="t") as store, RawRedis(settings.redis_url) as raw:
        await settle(store, "org", day_nano_usd=10**12)
        async with running_worker(settings, {"cheap": cheap, "dear": dear}):
            (job_id,) = await submit(store, max_tokens=TOKENS)
            outcome = (await ended(store, job_id)).outcome
        assert outcome is not None
        assert (outcome.provider, outcome.cost_usd) == ("dear", (TOKENS + 1) * PRICE / 1e9)
        assert await today_of(raw) == Sums(round((TOKENS + 1) * PRICE), 0)


async def test_a_job_ends_at_its_own_limit(settings: StoreSettings) -> None:
    """Its retries cost as much as its limit allows, and no more are made."""

    async def breaks(_: GenerationRequest) -> AsyncIterator[str | Usage]:
        yield "text"
        yield Usage(input_tokens=1, output_tokens=TOKENS)
        raise ProviderError(JobError(type="StreamTruncated", message="cut", retryable=True), Action.RETRY)

    provider = _provider(breaks)
    async with open_store(settings, client_name="t") as store:
        async with running_worker(settings, {"p": provider}):
            job = new_job(max_tokens=TOKENS, max_attempts=10, max_cost_usd=3 * TOKENS * PRICE / 1e9)
            await store.submit(job)
            outcome = (await ended(store, job.id)).outcome
        assert outcome is not None
        assert await error_of(store, job.id) == "BudgetExceeded"
        assert provider.calls == 2
        assert outcome.cost_usd == pytest.approx(2 * (TOKENS + 1) * PRICE / 1e9)


async def test_workers_report_a_spent_budget(settings: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a log line, once; and they let gateways know what their gates cost."""
    monkeypatch.setattr(budget_watch, "PAUSE_S", 0.05)
    async with open_store(settings, client_name="t") as store, RawRedis(settings.redis_url) as raw:
        await settle(store, "org", day_nano_usd=50_000)
        with capture_logs() as logs:
            async with running_worker(settings, {"p": _provider()}):
                (job_id,) = await submit(store, max_tokens=TOKENS // 10)
                await ended(store, job_id)

                async def reported() -> bool:
                    return any(log["event"] == "budget_reached" for log in logs)

                await until(reported)
                assert await raw("HGET", store.keys.fixed("gate_bounds"), "p:p")
        (line,) = [log for log in logs if log["event"] == "budget_reached"]
        assert (line["organization"], line["period"], line["percent"]) == ("org", "day", 80)
        assert line["project"] is None
