"""Composition root of the worker: one task group, built from settings, drained when it is told to stop."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import time
from collections.abc import Mapping
from typing import Final

import anyio
import structlog
from litestar import Litestar
from prometheus_client import CollectorRegistry

from services.worker.chores import Chores
from services.worker.consumer import Consumer
from services.worker.pool import Pool
from services.worker.providers import Provider
from services.worker.providers.demo import DemoProvider
from services.worker.run import Run, Stop
from services.worker.runner import Runner
from services.worker.settings import WorkerSettings
from shared.errors import PressworkError, SettingsInvalid, StoreUnavailable
from shared.http.ops import ops_routes
from shared.http.problems import EXCEPTION_HANDLERS
from shared.http.server import serve
from shared.job import JobError, JobStatus, Outcome
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.telemetry.metrics import RedisMetrics, WorkerMetrics, new_registry

HAND_BACK_SECONDS: Final = 1.2
"""How long handing back may take after the drain: platforms kill 10 s after SIGTERM (Cloud Run)."""

_log: Final = structlog.get_logger(__name__)


def new_consumer_name() -> str:
    """A name nobody had before: a restarted process must never be taken for the one that died."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:32]
    return f"w-{host}-{os.getpid()}-{secrets.token_hex(4)}"


def _providers(settings: WorkerSettings, more: Mapping[str, Provider]) -> dict[str, Provider]:
    demo = DemoProvider(
        first_token_ms=settings.demo_first_token_ms,
        tokens_per_second=settings.demo_tokens_per_second,
        failure_rate=settings.demo_failure_rate,
    )
    known: dict[str, Provider] = {"demo": demo, **more}
    if missing := [name for name, _ in settings.chain if name not in known]:
        raise SettingsInvalid(f"PROVIDERS names {missing[0]}, which this worker does not have")
    return known


class Worker:
    """One worker process's parts. `run` until `stop` is set, then drain."""

    def __init__(
        self,
        settings: WorkerSettings,
        store: JobStore,
        metrics: WorkerMetrics,
        providers: Mapping[str, Provider],
        *,
        name: str | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self.name = name or new_consumer_name()
        self._runner = Runner(
            store, providers, settings.chain, metrics, settle_seconds=3 * store.settings.lease_seconds + 2.0
        )
        self._pool = Pool(self._runner, settings.worker_concurrency, metrics)
        self._chores = Chores(store, self.name, self._pool, metrics, self._end_stuck)
        self._consumer = Consumer(store, self.name, self._pool, self._chores)
        self._stuck: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Claim and run jobs until `stop`; then hand back what does not end within the drain, and leave."""
        async with asyncio.TaskGroup() as group:
            chores = [
                group.create_task(role())
                for role in (
                    self._chores.renew, self._chores.recover, self._chores.promote_when_due, self._chores.audit,
                    self._hear_cancels,
                )
            ]  # fmt: skip
            consuming = group.create_task(self._consumer.run())
            await stop.wait()
            self._metrics.draining.set(1)
            _log.info("draining", jobs=len(self._pool.runs))
            consuming.cancel()
            await self._drain()
            for task in chores:
                task.cancel()
        try:
            await self._store.leave(self.name)
        except StoreUnavailable:
            _log.warning("left_without_goodbye")

    async def _drain(self) -> None:
        with anyio.move_on_after(self._settings.drain_seconds):
            await self._pool.wait_empty()
        self._pool.halt_all(Stop.DRAIN)
        with anyio.move_on_after(HAND_BACK_SECONDS):
            await self._pool.wait_empty()
        if left := len(self._pool.runs):
            _log.warning("jobs_left_to_their_lease", jobs=left)

    async def _hear_cancels(self) -> None:
        async with self._store.control(self.name) as cancels:
            async for job_id in cancels:
                self._pool.halt_job(job_id.decode(), Stop.CANCELLED)

    def _end_stuck(self, run: Run) -> None:
        """End a job whose provider ignores its time-out; its task is abandoned and may write nothing any more."""
        run.halt(Stop.STUCK)
        task = asyncio.create_task(self._settle_stuck(run))
        self._stuck.add(task)
        task.add_done_callback(self._stuck.discard)

    async def _settle_stuck(self, run: Run) -> None:
        error = JobError(type="Timeout", message="the provider did not end after its time-out")
        run_ms = round((time.monotonic() - run.started_s) * 1000)
        if run.close_log is not None:
            await run.close_log()
        try:
            await self._store.finish(
                run.claim, JobStatus.FAILED, Outcome(error=error), number=run.number, offset=-1, run_ms=run_ms
            )
        except PressworkError as refused:
            _log.warning("stuck_job_not_ended", job_id=run.claim.job_id, why=type(refused).__name__)

    def live(self) -> bool:
        """False when slots are free but the claim loop has not turned for two leases: only a restart helps."""
        idle_for = time.monotonic() - self._consumer.ticked
        return self._pool.free <= 0 or idle_for < 2 * self._store.settings.lease_seconds + 5.0


def _operations(worker: Worker, store: JobStore, registry: CollectorRegistry) -> Litestar:
    async def live() -> bool:
        return worker.live()

    return Litestar(
        ops_routes(ready=store.ping, live=live, registry=registry),
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
    )


async def run(
    settings: WorkerSettings,
    store_settings: StoreSettings,
    stop: asyncio.Event,
    *,
    providers: Mapping[str, Provider] | None = None,
) -> None:
    """Work until `stop` is set, then drain. `providers`: more of them, by name. SettingsInvalid: see `serve`."""
    registry = new_registry("worker")
    metrics = WorkerMetrics(registry)
    known = _providers(settings, providers or {})
    stopped = asyncio.Event()
    observer = RedisMetrics(registry).observe
    async with open_store(store_settings, client_name="presswork-worker", observer=observer) as store:
        worker = Worker(settings, store, metrics, known)
        app = _operations(worker, store, registry)
        ops = asyncio.create_task(
            serve(app, host=settings.worker_metrics_host, port=settings.worker_metrics_port, stop=stopped)
        )
        working = asyncio.create_task(worker.run(stop))
        try:
            await asyncio.wait([ops, working], return_when=asyncio.FIRST_COMPLETED)
            if ops.done():
                ops.result()
            await working
        finally:
            stopped.set()
            working.cancel()
            await asyncio.gather(working, ops, return_exceptions=True)
