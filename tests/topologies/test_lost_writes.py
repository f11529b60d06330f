"""A fail-over that lost the last writes: jobs may run again and readers may get a gap, but no token serves two (I4)."""

from __future__ import annotations

import pytest

from shared.errors import LeaseLost
from shared.events import EventKind
from shared.job import JobStatus
from shared.store.job_store import JobStore
from shared.store.reading.event_log import EventPage
from tests.support.fail_over import Servers, claimed_again
from tests.support.store import claim, complete, repeated, submit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def _kinds(page: EventPage) -> list[EventKind]:
    return [event.kind for event in page.events]


async def test_a_claim_that_was_lost_is_no_lease_beside_the_next(servers: Servers, store: JobStore) -> None:
    """The new master delivers the entry again, under a new token: who held it before is refused, readers get a gap."""
    (job_id,) = await submit(store, 1)
    await servers.in_sync()
    await servers.cut_off()
    (lost,) = await claim(store, 1, "before")
    await store.append(lost, 2, "never to be read again")
    seen = await store.events.read(job_id, None)
    assert _kinds(seen) == [EventKind.QUEUED, EventKind.PROCESSING, EventKind.DELTA]
    await servers.kill_master()
    assert (await repeated(lambda: store.renew("before", [lost]))).lost == {lost.token}
    (held,) = await claimed_again(store, "after")
    assert (held.job_id, held.attempt) == (job_id, 1)
    await store.append(held, 2, "text")
    with pytest.raises(LeaseLost):
        await store.append(lost, 3, "of nobody")
    with pytest.raises(LeaseLost):
        await complete(store, lost, "of nobody")
    again = await store.events.read(job_id, seen.cursor)
    assert (again.gap, _kinds(again)) == (True, [EventKind.GAP])
    await complete(store, held, "text", number=2)
    after = await store.events.read(job_id, again.cursor)
    assert (after.ended, _kinds(after)[-1]) == (True, EventKind.COMPLETED)
    assert len([kind for kind in _kinds(after) if kind is EventKind.COMPLETED]) == 1


async def test_no_number_of_an_event_is_used_twice(servers: Servers, store: JobStore) -> None:
    """Deltas that were read are lost, then the job is ended by force: its end has another id than any of them (I10)."""
    (job_id,) = await submit(store, 1)
    (held,) = await claim(store, 1)
    await store.append(held, 2, "kept")
    await servers.in_sync()
    await servers.cut_off()
    cursors = []
    for number in (3, 4):
        await store.append(held, number, "lost")
        cursors.append((await store.events.read(job_id, None)).cursor)
    await servers.kill_master()
    await repeated(lambda: store.cancel(job_id, force=True))
    for cursor in cursors:
        page = await store.events.read(job_id, cursor)
        assert (page.gap, _kinds(page)) == (True, [EventKind.GAP, EventKind.CANCELLED])
    snapshot = await store.status(job_id)
    assert snapshot is not None
    assert snapshot.status is JobStatus.CANCELLED


async def test_a_submit_that_was_lost_leaves_nothing(servers: Servers, store: JobStore) -> None:
    """With the default durability a job may vanish with its master: then it is unknown, and counted nowhere."""
    await submit(store, 1)
    await servers.in_sync()
    await servers.cut_off()
    (lost,) = await submit(store, 1)
    (held,) = [one for one in await claim(store, 5) if one.job_id == lost]
    await servers.kill_master()
    assert await repeated(lambda: store.status(lost)) is None
    with pytest.raises(LeaseLost):
        await complete(store, held)
    stats = await store.queries.stats()
    assert (stats.queued, stats.processing, stats.completed) == (1, 0, 0)
