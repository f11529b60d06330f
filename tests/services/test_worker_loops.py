"""The background loops of a worker fail, or stand still (I12)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest
import structlog

from services.worker import liveness
from services.worker.loops.supervision import PAUSE_LEAST_S, supervise
from shared.job import JobStatus
from shared.settings import StoreSettings
from shared.store.job_store import JobStore
from shared.store.maintenance import Maintenance
from shared.store.results import Promoted
from shared.telemetry.metrics import WorkerMetrics, new_registry
from tests.support.faults import breaks
from tests.support.store import submit
from tests.support.worker import Scripted, answers, ended, running_worker, until


@pytest.mark.parametrize(
    ("owner", "name", "loops"),
    [
        (JobStore, "claim", {"consumer"}),
        (JobStore, "renew", {"lease_renewal", "recovery"}),
        (Maintenance, "recover", {"recovery"}),
        (Maintenance, "promote", {"promotion", "consumer"}),
        (Maintenance, "audit", {"audit"}),
    ],
)
async def test_a_loop_that_failed_begins_again(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, loops: set[str]
) -> None:
    """Every background loop goes on after an exception; it is counted each time and logged once; a lost job and a
    delayed one still run."""
    (lost,) = await submit(store)
    await store.claim("dead", 1, poll=True, suspect=True)
    raised = breaks(monkeypatch, owner, name, 2)
    quick = StoreSettings(redis_url=store.settings.redis_url, lease_seconds=1.0)
    with structlog.testing.capture_logs() as lines:
        async with running_worker(quick, {"p": Scripted(answers)}) as (worker, _):
            (later,) = await submit(store, delay_ms=300)
            for job_id in (lost, later):
                assert (await ended(store, job_id, 20)).status is JobStatus.COMPLETED

            async def twice() -> bool:
                return raised() == 2

            await until(twice, 20)
            assert await worker.live()
            (family,) = worker._metrics.loop_failures.collect()
            counted = {sample.labels["loop"]: sample.value for sample in family.samples if sample.value}
            assert sum(counted.values()) == 2
            assert set(counted) <= loops
    failed = [line for line in lines if line["event"] == "loop_failed"]
    assert {line["cause"] for line in failed}
    assert len(failed) <= 2


async def test_a_loop_that_stands_still_fails_live(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal that never returns: live says so after two leases."""
    monkeypatch.setattr(liveness, "MARGIN_S", -1.0)
    quick = StoreSettings(redis_url=store.settings.redis_url, lease_seconds=1.0)

    async def hangs(*_: Any) -> Any:
        await asyncio.Event().wait()

    async with running_worker(quick, {"p": Scripted(answers)}) as (worker, _):
        assert await worker.live()
        monkeypatch.setattr(Maintenance, "promote", hangs)
        await submit(store, delay_ms=100)

        async def dead() -> bool:
            return not await worker.live()

        await until(dead)


async def test_however_much_is_due_at_once_jobs_run_and_the_worker_lives(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Due jobs that take call after call for longer than two leases: others run meanwhile, and live says yes."""
    monkeypatch.setattr(liveness, "MARGIN_S", 0.0)
    quick = StoreSettings(redis_url=store.settings.redis_url, lease_seconds=1.0)
    promote, ends_at = Maintenance.promote, time.monotonic() + 4.0

    async def without_end(maintenance: Maintenance, *given: Any, **more: Any) -> Promoted:
        promoted = await promote(maintenance, *given, **more)
        await asyncio.sleep(0.01)
        return promoted if time.monotonic() > ends_at else msgspec.structs.replace(promoted, next_ms=0)

    monkeypatch.setattr(Maintenance, "promote", without_end)
    async with running_worker(quick, {"p": Scripted(answers)}) as (worker, _):
        while time.monotonic() < ends_at:
            (job_id,) = await submit(store)
            assert (await ended(store, job_id, 3)).status is JobStatus.COMPLETED
            assert await worker.live()


async def test_a_loop_that_fails_again_and_again_slows_down_and_goes_on() -> None:
    """It survives every exception, also a cancellation without a cause; only when its task is cancelled does it end."""
    metrics, began = WorkerMetrics(new_registry("worker")), list[float]()
    raised = [RuntimeError(), asyncio.CancelledError(), SystemExit(), ValueError()]

    async def fails() -> None:
        began.append(asyncio.get_running_loop().time())
        if raised:
            raise raised.pop()
        await asyncio.Event().wait()

    task = asyncio.create_task(supervise("lease_renewal", fails, metrics.loop_failures))

    async def five_times() -> bool:
        return len(began) == 5

    await until(five_times)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert began[4] - began[3] >= 0.5 * 8 * PAUSE_LEAST_S
    assert metrics.loop_failures.labels("lease_renewal")._value.get() == 4
