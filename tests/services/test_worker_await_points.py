"""A fault at every await of an attempt (I12): each job ends as it should, no slot is lost, one line reports each end.

How the awaits were enumerated: `tests/support/await_points.py` drives the tasks of an attempt itself and reads off,
each time one suspends, the chain of frames that await each other. One job of every kind in `KINDS` is run without a
fault; each chain it suspends in is a point. Then one job for each point and each kind of fault is run, all at once.
That no `await` written in the files of an attempt was left out is checked against their syntax trees.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import structlog

from services.worker.providers import Action, Completion, GenerationRequest, ProviderError
from services.worker.worker import Worker
from shared.errors import StoreUnavailable
from shared.job import JobError, JobSnapshot, JobStatus
from shared.settings import StoreSettings
from shared.store.job_store import JobStore
from shared.store.transitions import Submit
from tests.support.await_points import FAULTS, Fault, Watch, written_awaits
from tests.support.checks import leaks
from tests.support.processes import ROOT
from tests.support.store import new_job, repeated
from tests.support.worker import DONE, Scripted, running_worker, until

LEASE: Final = 1.5
TIMEOUT: Final = 0.8
SLOTS: Final = 400
SLACK: Final = 3.0
"""For a machine with busy neighbours."""

BUSY: Final = JobError(type="ProviderUnavailable", message="the provider is busy", retryable=True)

FILES: Final = sorted((ROOT / "services" / "worker" / "execution").glob("*.py"))

NOT_REACHED: Final = {
    "await self._finalizer.offer_suspects()": "after the end, of jobs that lost a worker before",
    "await self._store.maintenance.wake_to_poll()": "the same",
    "await self._store.report(": "in a task beside the jobs",
    "await self._store.recent_calls.note(failed, chains)": "the same",
    "await asyncio.sleep(FRUGAL_GATHERED_S if self._store.settings.frugal else GATHERED_S)": "the same",
    "await self._send()": "the same, and at the end of the process",
    "await self._changed.wait()": "of the claim loop and the drain, not of an attempt",
    "await self._watchdog.close()": "at the end of the process",
    "await asyncio.wait(self._stuck, timeout=DRAIN_GRACE_S)": "the same",
}


class Kind(msgspec.Struct, frozen=True):
    """One course of an attempt. `ends`: its job's state without a fault. `errors`: those that a failed one may end
    with."""

    name: str
    ends: JobStatus = JobStatus.COMPLETED
    errors: tuple[str, ...] = ()
    chain: tuple[str, ...] = ("plain",)
    max_attempts: int = 3


KINDS: Final = [
    Kind("at once"),
    Kind("streams"),
    Kind("closes after its end"),
    Kind("retries"),
    Kind("falls back", chain=("down", "plain")),
    Kind("waits at a gate", chain=("limited",)),
    Kind("redis away", chain=("down", "plain")),
    Kind("redis away, retries"),
    Kind("cancelled", JobStatus.CANCELLED),
    Kind("times out", JobStatus.FAILED, ("Timeout", "InternalError"), max_attempts=1),
    Kind("closes slowly", JobStatus.FAILED, ("Timeout", "InternalError"), max_attempts=1),
    Kind("fails", JobStatus.FAILED, ("InvalidRequest",)),
]


async def _plain(request: GenerationRequest) -> AsyncIterator[str | Completion]:
    """The behaviour that the prompt, the name of a kind, asks for."""
    kind = request.prompt
    if kind == "at once":
        yield "Hello"
        yield DONE
        return
    if kind == "fails":
        raise ProviderError(JobError(type="InvalidRequest", message="refused"), Action.FAIL)
    yield "Hello "
    try:
        await asyncio.sleep(0.15)
        yield "there "
        if "retries" in kind and request.attempt == 1:
            raise ProviderError(BUSY, Action.RETRY, retry_after_s=0.0)
        if kind in ("cancelled", "times out", "closes slowly"):
            await asyncio.Event().wait()
        yield "again"
        yield DONE
    finally:
        if kind in ("closes slowly", "closes after its end"):
            await asyncio.sleep(0.01)


async def _down(_: GenerationRequest) -> AsyncIterator[str | Completion]:
    await asyncio.sleep(0)
    raise ProviderError(BUSY, Action.RETRY)
    yield ""


def _limited() -> Scripted:
    asked = Counter[str]()

    async def limited(request: GenerationRequest) -> AsyncIterator[str | Completion]:
        asked[request.job_id] += 1
        if asked[request.job_id] == 1:
            raise ProviderError(BUSY, Action.WAIT, retry_after_s=0.05)
        yield "Hello"
        yield DONE

    return Scripted(limited, gated=True)


def _break_away(worker: Worker) -> None:
    """Each call of the store for a job that says so is refused once, as when Redis is away."""
    store: Any = worker._store
    refused: set[tuple[str, str]] = set()

    def breaking(name: str) -> Any:
        real = getattr(store, name)

        async def call(first: Any, *arguments: Any, **more: Any) -> Any:
            claim = getattr(first, "claim", first)
            if claim.spec.prompt.startswith("redis away") and (name, claim.job_id) not in refused:
                refused.add((name, claim.job_id))
                raise StoreUnavailable("it is away")
            return await real(first, *arguments, **more)

        return call

    for name in ("append", "finish", "requeue", "reroute"):
        setattr(store, name, breaking(name))


def _job(kind: Kind, number: int = 0) -> Submit:
    """`number`: which of the gates it waits at, if it does: who waits at one is served slowly."""
    route = tuple(f"{name}{number}:{name}{number}" if name == "limited" else f"{name}:{name}" for name in kind.chain)
    return new_job(prompt=kind.name, route=route, max_attempts=kind.max_attempts, timeout_seconds=TIMEOUT)


async def _submit(store: JobStore, kind: Kind) -> Submit:
    job = _job(kind)
    await store.submit(job)
    return job


async def _seen(store: JobStore, job: Submit, wanted: Callable[[JobStatus], bool]) -> JobSnapshot:
    """The job once its status is what is wanted."""
    async with asyncio.timeout(60):
        while True:
            found = await repeated(partial(store.status, job.id))
            if found is not None and wanted(found.status):
                return found
            await asyncio.sleep(0.05)


async def _cancel(store: JobStore, job: Submit) -> None:
    await _seen(store, job, lambda status: status is not JobStatus.QUEUED)
    await asyncio.sleep(0.1)
    await repeated(partial(store.cancel, job.id))


async def _ends(store: JobStore, jobs: Sequence[tuple[Kind, Submit]]) -> list[str | None]:
    """Ends of jobs that are not as they should be."""
    wrong = list[str | None]()
    cancels = [asyncio.create_task(_cancel(store, job)) for kind, job in jobs if kind.ends is JobStatus.CANCELLED]
    for kind, job in jobs:
        seen = await _seen(store, job, lambda status: status.terminal)
        error = seen.outcome.error.type if seen.outcome is not None and seen.outcome.error is not None else None
        as_it_should = seen.status is kind.ends and (error in kind.errors if kind.errors else error is None)
        wrong.append(None if as_it_should else f"{kind.name}: {seen.status} {error}")
    await asyncio.gather(*cancels)
    return wrong


def _unreached(watch: Watch) -> list[str]:
    """Awaits that are written in an attempt's files and were never waited in."""
    reached = {(name, line) for points in watch.points.values() for point in points for name, _, line in point.frames}
    left = []
    for path, line in sorted(written_awaits(FILES) - reached):
        text = Path(path).read_text(encoding="utf-8").splitlines()[line - 1].strip()
        if text not in NOT_REACHED:
            left.append(f"{Path(path).relative_to(ROOT)}:{line}: {text}")
    return left


async def _free(worker: Worker) -> bool:
    return worker._pool.free == SLOTS and not worker._pool.attempts


@pytest.mark.timeout(300)
async def test_a_fault_at_every_await_costs_an_attempt_at_most(store: JobStore, redis_url: str) -> None:
    """Any await may raise or hang, for every kind of attempt: the job ends as it would, or is tried again and
    does then; each attempt ends within its time-out plus a lease, with one line; all slots are free again, also when
    the hanging await wakes up; and the worker takes its next job. At least 50 awaits, 200 faults."""
    settings = StoreSettings(redis_url=redis_url, lease_seconds=LEASE)
    limited = {f"limited{number}": _limited() for number in range(16)}
    providers = {"plain": Scripted(_plain), "down": Scripted(_down), **limited}
    watch = Watch()
    with structlog.testing.capture_logs() as lines:
        async with running_worker(settings, providers, worker_concurrency=SLOTS) as (worker, _), watch.watching():
            _break_away(worker)
            sound = [(kind, await _submit(store, kind)) for kind in KINDS]
            assert set(await _ends(store, sound)) == {None}
            faults = [
                (kind, Fault(point, fault)) for kind, job in sound for point in watch.points[job.id] for fault in FAULTS
            ]
            broken = []
            for number, (kind, fault) in enumerate(faults):
                job = _job(kind, number % len(limited))
                watch.faults[job.id] = fault
                await repeated(partial(store.submit, job))
                broken.append((kind, job))
            found = await _ends(store, broken)
            await until(lambda: _free(worker), 30)
            assert len(worker._pool.stuck) > 0
            await watch.release()
            await until(lambda: _free(worker), 30)
            assert await _ends(store, [(KINDS[0], await _submit(store, KINDS[0]))]) == [None]
            assert worker._pool.stuck == []
    assert [(wrong, faults[i][1]) for i, wrong in enumerate(found) if wrong] == []
    assert len(faults) >= 200
    # Whether an append is under way when a job is cancelled, say, is not always the same.
    assert sum(not fault.met for _, fault in faults) <= len(faults) // 20
    assert _unreached(watch) == []
    attempts = {job_id: count for (name, job_id), count in watch.tasks.items() if name == "Pool._work"}
    assert Counter(line["job_id"] for line in lines if "job_id" in line) == attempts
    assert max(line.get("run_seconds", 0.0) for line in lines) < TIMEOUT + LEASE + SLACK
    assert await leaks(redis_url) == []
