"""Which fields of a log a cursor needs, and when they have a gap: without a server."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from shared.events import ORIGIN, EventId
from shared.job import JobSnapshot, JobSpec, JobStatus, Outcome
from shared.past_lease import PastLease
from shared.store.reading import gaps
from shared.store.reading.gaps import Gap, LeaseText
from shared.store.reading.records import Record

PAGE = 100
PAST = (PastLease("n1-0", "error", 1, 1000, 4), PastLease("a2-0", "drain", 2, 2000, 2))
LIVE = "a3-0"


def _record(status: JobStatus = JobStatus.PROCESSING, *, past: tuple[PastLease, ...] = PAST) -> Record:
    """Two leases that ended with a retry (4 events and 2), and a third one: open, or completed with 2 events and a
    tail that was not logged."""
    outcome = Outcome(result="first tail") if status.terminal else None
    snapshot = JobSnapshot(
        id="job", organization_id="org", status=status, attempt=3, created_ms=1, deadline_ms=9000, started_ms=3000,
        spec=JobSpec(project_id="p", user_id="u", organization_id="org", prompt=""), outcome=outcome,
    )  # fmt: skip
    return Record(snapshot=snapshot, token=LIVE, past=past, last=2, offset=6)


def _cursors(record: Record) -> Iterator[EventId]:
    """Every event of the job that has an id, in order, as far as its leases have ended."""
    yield EventId(ORIGIN, 1)
    leases = [(lease.token, lease.last) for lease in record.past]
    for token, last in [*leases, (LIVE, record.last)] if record.snapshot.status.terminal else leases:
        yield from (EventId(token, number) for number in range(1, last + 1))


def _field(name: str) -> bytes:
    return b'r{"reason":"error"}' if name in ("n1-0.4", "a2-0.2") else b"dtext"


@pytest.mark.parametrize("status", [JobStatus.PROCESSING, JobStatus.COMPLETED])
def test_from_each_event_on_exactly_the_later_ones_are_told(status: JobStatus) -> None:
    """Those that are implied, those of ended leases, and the end: in order, whatever the cursor."""
    record = _record(status)
    cursors = list(_cursors(record))
    ids = [*cursors, *(event.id for event in gaps.needed(record, None, PAGE).last)]
    for place, cursor in enumerate([None, *cursors]):
        need = gaps.needed(record, cursor, PAGE)
        found = {name: _field(name) for name in gaps.names(need.places)}
        told = need.first + gaps.ended(record.snapshot, need.places, found, cursor) + need.last
        assert [event.id for event in told] == ids[place:]
        assert (need.more, need.after) == (False, 0)
        assert (need.live is None) == status.terminal


def test_after_the_end_nothing_is_needed() -> None:
    """Of the last delta, which the record holds, the terminal event follows alone; of that one nothing."""
    record = _record(JobStatus.COMPLETED)
    tail, end = gaps.needed(record, None, PAGE).last
    assert gaps.needed(record, tail.id, PAGE) == gaps.Needed(last=[end])
    assert gaps.needed(record, end.id, PAGE) == gaps.Needed()


def test_a_field_that_is_gone_is_a_gap_for_all_who_need_it() -> None:
    """Also when it is the reader's own last event: what stood behind it may be gone with it."""
    record = _record()
    cursors = list(_cursors(record))
    stored = [cursor for cursor in cursors if cursor.number > 1]
    for lost in stored:
        for cursor in cursors:
            need = gaps.needed(record, cursor, PAGE)
            found = {name: None if name == str(lost) else _field(name) for name in gaps.names(need.places)}
            if cursors.index(cursor) > cursors.index(lost):
                gaps.ended(record.snapshot, need.places, found, cursor)
                continue
            with pytest.raises(Gap):
                gaps.ended(record.snapshot, need.places, found, cursor)


@pytest.mark.parametrize(
    "cursor", [EventId("n9-9", 1), EventId("n1-0", 5), EventId("n1-0", 0), EventId(ORIGIN, 2)], ids=str
)
def test_a_cursor_that_no_lease_has_is_a_gap(cursor: EventId) -> None:
    """A lease that is not the job's, and a number beyond its last event."""
    with pytest.raises(Gap):
        gaps.needed(_record(), cursor, PAGE)


def test_a_late_reader_gets_pages() -> None:
    """A page is cut at its length, without the open lease and the end; the next one begins with its last event."""
    record, cursor, told = _record(), None, list[EventId | None]()
    for more in (True, True, False):
        need = gaps.needed(record, cursor, 3)
        found = {name: _field(name) for name in gaps.names(need.places)}
        events = gaps.ended(record.snapshot, need.places, found, cursor)
        told += [event.id for event in events]
        assert need.more is more
        cursor = events[-1].id
    assert told == list(_cursors(record))[1:]


def test_a_reader_of_the_open_lease_goes_on_where_it_is() -> None:
    """No ended lease is read again."""
    need = gaps.needed(_record(), EventId(LIVE, 7), PAGE)
    assert (need.places, need.after, need.first, need.last) == ([], 7, [], [])
    assert need.live is not None
    assert need.live.token == LIVE


@pytest.mark.parametrize(
    ("fields", "present"),
    [
        ([b"d1", b"d2", None, None], 2),
        ([None, None, None, None], 0),
        ([b"d1", b"d2", b"d3", b"d4"], 4),
    ],
)
def test_the_first_hole_is_the_end_of_what_was_written(fields: list[bytes | None], present: int) -> None:
    """Nothing stands behind it."""
    assert gaps.contiguous(fields, first_is_known=False) == fields[:present]


@pytest.mark.parametrize(
    ("fields", "known"), [([b"d1", None, b"d3"], False), ([None, b"d2"], False), ([None, None], True)]
)
def test_a_hole_before_something_is_a_gap(fields: list[bytes | None], known: bool) -> None:
    """And one where the reader's own last event stood."""
    with pytest.raises(Gap):
        gaps.contiguous(fields, first_is_known=known)


def test_the_text_of_a_lease_is_put_in_order() -> None:
    """Fields come in any order; requeues and other leases have no text in it; bytes of one character may be split."""
    written = LeaseText(LIVE)
    assert (written.text, written.last) == ("", 1)
    for name, field in [
        (b"a3-0.3", b"d\x9f"), (b"n1-0.2", b"dold"), (b"a3-0.10", b"d!"), (b"a3-0.2", b"da\xc3"), (b"a3-0.4", b"r{}"),
    ]:  # fmt: skip
        written.add(name, field)
    assert (written.text, written.last) == ("aß!", 10)


def test_a_job_without_leases_has_only_its_beginning() -> None:
    """One that waits for its first worker."""
    record = _record(JobStatus.QUEUED, past=())
    need = gaps.needed(record, None, PAGE)
    assert [event.kind for event in need.first] == ["queued"]
    assert msgspec.structs.replace(need, first=[]) == gaps.Needed(places=[])
