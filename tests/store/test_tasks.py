"""The lease of a task: one worker holds it, and the next one goes on from where that one came."""

from __future__ import annotations

import pytest

from shared.store.audit_trail import Actor
from shared.store.job_store import JobStore
from shared.store.tasks import TaskPlan
from tests.support.checks import RawRedis
from tests.support.store import KEYS

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


async def test_a_task_has_one_worker_at_a_time(store: JobStore, raw: RawRedis) -> None:
    """Another one gets it once the lease is over, with the position noted last; the first may write nothing then."""
    tasks = store.tasks
    task_id = await tasks.create(TaskPlan(kind="discard"), 5, Actor(key_id="test"))
    assert await tasks.take("w1") is not None
    assert await tasks.take("w2") is None
    assert await tasks.advance(task_id, "w1", "3")
    assert await tasks.take("w2") is None

    await raw("ZADD", KEYS.fixed("tasks"), "XX", 1, task_id)
    second = await tasks.take("w2")
    assert second is not None
    assert (second.id, second.position) == (task_id, "3")
    assert not await tasks.advance(task_id, "w1", "4", ended=True)
    found = await tasks.read(task_id)
    assert (found.running, found.position) == (True, "3")

    assert await tasks.advance(task_id, "w2", "5", ended=True)
    assert not (await tasks.read(task_id)).running
    assert not await tasks.waiting()
