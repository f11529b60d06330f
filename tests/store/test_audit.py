"""The audit repairs damage that no script leaves."""

from __future__ import annotations

import pytest

from shared.store import maintenance
from shared.store.job_store import JobStore
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.organization_counts import miscounted
from tests.support.store import (
    claim,
    complete,
    drain,
    submit,
)


async def test_audit_repairs_what_no_script_leaves(
    store: JobStore, raw: RawRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivered entries that no consumer has, on any page, and live records that no entry names, are
    queued again."""
    monkeypatch.setattr(maintenance, "AUDIT_PAGE", 1)
    ids = await submit(store, 5)
    held = await claim(store, 2)
    await raw("XACK", store.keys.fixed("line"), "workers", held[1].token[1:])
    waiting = (await raw("HGET", store.keys.job(ids[2]), "entry")).decode()
    await raw("XDEL", store.keys.fixed("line"), waiting[1:])
    await raw("ZREM", store.keys.prefix("backlog") + "org", ids[4])
    audited = await store.maintenance.audit("w1")
    assert (audited.ran, audited.requeued) == (True, 3)
    assert await breaches(store, raw, ids) == []
    assert await miscounted(raw, ids) == []
    assert (await store.maintenance.audit("w2")).ran is False
    await complete(store, held[0])
    assert await drain(store) == 4


async def test_audit_removes_consumers_that_went_away(store: JobStore, raw: RawRedis) -> None:
    """Consumers idle for an hour with nothing pending go; one that holds a job stays, with any idle time."""
    await submit(store, 2)
    await claim(store, 1, "gone")
    (held,) = await claim(store, 1, "empty")
    await complete(store, held)
    store._calls.scripts._constants = {**store._calls.scripts._constants, "consumer_idle_ms": -1}
    assert (await store.maintenance.audit("empty")).consumers_deleted > 0
    names = {row[1] for row in await raw("XINFO", "CONSUMERS", store.keys.fixed("line"), "workers")}
    assert names == {b"gone"}
