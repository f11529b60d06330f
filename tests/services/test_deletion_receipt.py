"""The receipt of a deletion: all that was removed, whichever workers did it, and no more than is known of the file."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.worker.loops import erasure
from services.worker.loops.erasure import ErasureRun
from shared.errors import LeaseLost, StoreUnavailable
from shared.settings import StoreSettings
from shared.store.append_only_file import AppendOnlyFile, FileState
from shared.store.audit_trail import Actor
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import JobStore, open_store
from shared.store.tasks import TaskPlan
from tests.conftest import flush
from tests.support.callers import OPERATOR, TOKENS, bearer
from tests.support.checks import RawRedis
from tests.support.gateway import running_gateway
from tests.support.store import repeated, settle, submit
from tests.support.worker import until

PLANTED = "planted-organisation"
ACTOR = Actor(key_id="test")


@pytest.fixture(scope="module")
def persistent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server with an append-only file."""
    with EmbeddedServer(Path(tmp_path_factory.mktemp("persistent")), aof=True) as running:
        yield running


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[JobStore]:
    async with open_store(StoreSettings(redis_url=url, lease_seconds=0.5), client_name="t") as store:
        yield store


async def _planted_task(store: JobStore, jobs: int = 5) -> str:
    """A deletion of an organisation with so many jobs."""
    await settle(store, PLANTED, weight=2)
    await submit(store, jobs, organization=PLANTED, prompt=PLANTED)
    return await store.tasks.create(TaskPlan(kind="erase", organization_id=PLANTED), 0, ACTOR)


async def _run(store: JobStore, holder: str) -> None:
    """Do the one task as the loop of a worker does: once more after an outage, and there is one on a busy machine."""
    while await repeated(store.tasks.waiting):
        task = await repeated(partial(store.tasks.take, holder))
        if task is None:
            await asyncio.sleep(store.settings.lease_seconds / 4)
            continue
        with contextlib.suppress(StoreUnavailable):
            await ErasureRun(store, task, holder).run()


async def _shown(url: str, task_id: str) -> dict[str, Any]:
    async with running_gateway(url, API_TOKENS=TOKENS) as client:
        return await _read(client, task_id)


async def _read(client: httpx.AsyncClient, task_id: str) -> dict[str, Any]:
    task: dict[str, Any] = (await client.get(f"/api/admin/tasks/{task_id}", headers=bearer(OPERATOR))).json()
    assert task["state"] == "done"
    receipt: dict[str, Any] = task["receipt"]
    assert set(receipt) == {"jobs", "keys", "entries", "appendOnlyFileRewritten"}
    return receipt


def _in_files(folder: Path, text: str) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


async def test_the_file_is_rewritten_and_then_that_is_said(persistent: EmbeddedServer) -> None:
    """By the worker, after the last write that named the organisation; its name is in no file then."""
    await flush(persistent.url)
    async with _opened(persistent.url) as store:
        task_id = await _planted_task(store)
        await until(_holds(persistent.folder, PLANTED))
        await _run(store, "w1")
        entries = (await store.audit_trail.page(None, every=True, cursor=None, limit=5)).entries
        assert (entries[0].entry.a, entries[0].entry.d["appendOnlyFileRewritten"]) == ("organization.deleted", True)
    receipt = await _shown(persistent.url, task_id)
    assert (receipt["jobs"], receipt["appendOnlyFileRewritten"]) == (5, True)
    assert _in_files(persistent.folder, PLANTED) == []


def _holds(folder: Path, text: str) -> Any:
    async def check() -> bool:
        return bool(_in_files(folder, text))

    return check


async def test_an_operators_rewrite_is_said(persistent: EmbeddedServer) -> None:
    """The receipt says no where the worker may not have the file rewritten, until an operator did."""
    await flush(persistent.url)
    user = persistent.url.replace("unix://", "unix://worker:secret@")
    async with RawRedis(persistent.url) as raw:
        await raw("ACL", "SETUSER", "worker", "on", ">secret", "~*", "&*", "+@all", "-bgrewriteaof")
        try:
            async with _opened(user) as store:
                task_id = await _planted_task(store)
                await _run(store, "w1")
            async with running_gateway(persistent.url, API_TOKENS=TOKENS) as client:
                assert (await _read(client, task_id))["appendOnlyFileRewritten"] is False
                await raw("BGREWRITEAOF")

                async def rewritten() -> bool:
                    return bool((await _read(client, task_id))["appendOnlyFileRewritten"])

                await until(rewritten)
                assert _in_files(persistent.folder, PLANTED) == []
        finally:
            await raw("ACL", "DELUSER", "worker")


async def test_without_a_file_nothing_is_claimed(redis_url: str) -> None:
    """A server that keeps none has rewritten none."""
    async with _opened(redis_url) as store, RawRedis(redis_url) as raw:
        task_id = await _planted_task(store)
        rewrites = b"aof_rewrites:0" in await raw("INFO", "persistence")
        await _run(store, "w1")
        assert (b"aof_rewrites:0" in await raw("INFO", "persistence")) == rewrites
    assert (await _shown(redis_url, task_id))["appendOnlyFileRewritten"] is False


async def test_the_counts_of_lost_workers_stay(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is counted by the script that removes it: once, whichever worker ends the task."""
    async with _opened(redis_url) as store:
        task_id = await _planted_task(store, 30)
        await store.organizations.block(PLANTED, "someone", ACTOR)
        await _run_until_lost(store, "w1", monkeypatch)
        some = await store.tasks.read(task_id)
        assert (some.jobs, some.running) == (30, True)
        assert some.keys > 0
        await _run(store, "w2")
        whole = await store.tasks.read(task_id)
        assert whole.jobs == 30
        assert whole.keys >= some.keys
        assert whole.entries >= some.entries > 0
    receipt = await _shown(redis_url, task_id)
    assert (receipt["jobs"], receipt["keys"], receipt["entries"]) == (whole.jobs, whole.keys, whole.entries)


async def _run_until_lost(store: JobStore, holder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run until the first pass is over; then the worker stands still for longer than its lease."""

    async def lose(_: ErasureRun, seconds: float) -> None:
        raise LeaseLost(f"{seconds}")

    with monkeypatch.context() as patched:
        patched.setattr(ErasureRun, "_pause", lose)
        with pytest.raises(LeaseLost):
            await _run(store, holder)
    await asyncio.sleep(store.settings.lease_seconds * 1.5)


async def test_a_worker_that_is_lost_while_the_file_is_rewritten_is_replaced(
    persistent: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order names nothing by then: the next worker has it rewritten, and ends the task with the same hash."""
    await flush(persistent.url)
    async with _opened(persistent.url) as store:
        task_id = await _planted_task(store)

        async def lose(_: ErasureRun) -> None:
            raise LeaseLost("gone")

        with monkeypatch.context() as patched:
            patched.setattr(ErasureRun, "_rewrite_file", lose)
            with pytest.raises(LeaseLost):
                await _run(store, "w1")
        task = await store.tasks.read(task_id)
        assert task.running
        assert task.plan == TaskPlan(kind="erase")
        await asyncio.sleep(store.settings.lease_seconds * 1.5)
        await _run(store, "w2")
        (entry,) = [
            one.entry
            for one in (await store.audit_trail.page(None, every=True, cursor=None, limit=50)).entries
            if one.entry.a == "organization.deleted"
        ]
        assert entry.d["organizationHash"] == task.position
        assert entry.d["jobs"] == 5
    assert (await _shown(persistent.url, task_id))["appendOnlyFileRewritten"] is True


async def test_a_rewrite_that_takes_too_long_is_not_claimed(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task ends without it, and shows it when it is read later."""
    monkeypatch.setattr(erasure, "REWRITE_S", 0.3)
    monkeypatch.setattr(erasure, "LOOK_S", 0.05)
    busy = FileState(run_id="r", enabled=True, rewrites=1, busy=True, ok=True)

    async def state(_: AppendOnlyFile) -> FileState:
        return busy

    monkeypatch.setattr(AppendOnlyFile, "state", state)
    async with _opened(redis_url) as store:
        task_id = await _planted_task(store)
        await _run(store, "w1")
    assert (await _shown(redis_url, task_id))["appendOnlyFileRewritten"] is False
    busy = FileState(run_id="r", enabled=True, rewrites=2, busy=False, ok=True)
    assert (await _shown(redis_url, task_id))["appendOnlyFileRewritten"] is True
