"""Reads a job's record: the hash the scripts write, as a snapshot. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from shared.chain import split
from shared.errors import JobUnreadable
from shared.job import Claim, JobSnapshot, JobSpec, JobStatus, Outcome, PassedOver, Spent
from shared.past_lease import PastLease
from shared.past_lease import parse as parse_lease
from shared.store.keys import decode_id

BRIEF_FROM: Final = 4096
"""Bytes from which on an outcome is kept a second time, without its text, as `brief`: a listing reads no large ones."""

DEPTH_MAX: Final = 64
"""Levels of metadata that can be shown: more than the gateway lets in, and fewer than any encoder gives up at."""

TIME_MAX: Final = 253_402_300_799_999
"""The last ms of the year 9999: later ones are no times."""

SHOWN_MAX: Final = 512
"""Characters of a damaged record's organisation and state that are shown."""

DAMAGE: Final = (ValueError, TypeError, RecursionError, OverflowError)
"""Errors of reading a damaged record; those of msgspec and of UTF-8 are ValueErrors."""

VERSION: Final = 1
"""Version of the records that this release writes and knows; see `lua/include/release.lua`."""

_SPEC: Final = msgspec.json.Decoder(JobSpec)
_OUTCOME: Final = msgspec.json.Decoder(Outcome)
_SPENT: Final = msgspec.json.Decoder(Spent)


class Fields(NamedTuple):
    """The fields of a record that readers ask for, in this order, by the names under which they are stored; None for
    one that is not there."""

    state: bytes | None
    org: bytes | None
    spec: bytes | None
    attempt: bytes | None
    created: bytes | None
    deadline: bytes | None
    started: bytes | None
    ended: bytes | None
    entry: bytes | None
    past: bytes | None
    last: bytes | None
    offset: bytes | None
    cancel: bytes | None
    outcome: bytes | None
    late: bytes | None
    due: bytes | None
    v: bytes | None
    retried_as: bytes | None


FIELDS: Final = Fields._fields


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A record as it was read. `token` is the current or last lease (`d…` while delayed, `p…` while throttled, 0-0 when
    it ended without one); `last` the last event in the log at the end; `offset` the characters its deltas hold (-1:
    all)."""

    snapshot: JobSnapshot
    token: str
    past: tuple[PastLease, ...]
    last: int
    offset: int


def _number(raw: bytes | None) -> int | None:
    return None if raw is None else int(raw)


def _time(raw: bytes | None) -> int | None:
    ms = _number(raw)
    if ms is not None and not 0 <= ms <= TIME_MAX:
        raise ValueError("not a time")
    return ms


def _check_depth(value: object) -> None:
    """Raise ValueError for a value that is nested too deep to be shown."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEPTH_MAX):
        if not level:
            return
        inner = [held for one in level for held in (one.values() if isinstance(one, dict) else one)]
        level = [held for held in inner if isinstance(held, dict | list)]
    raise ValueError("nested too deep")


def _past(raw: bytes | None) -> tuple[PastLease, ...]:
    return tuple(map(parse_lease, raw.decode().split(","))) if raw else ()


def _last_of(past: bytes | int) -> PastLease | None:
    """The last of a job's earlier leases; None also where they cannot be read: the job can run without."""
    if isinstance(past, int):
        return None
    try:
        return parse_lease(past.decode().rpartition(",")[2])
    except ValueError:
        return None


def _outcome(raw: bytes | None, late: bytes | None) -> Outcome | None:
    """Decode the outcome. A finish after a forced cancel may add usage and cost, nothing else (I2)."""
    if raw is None:
        return None

    outcome = _OUTCOME.decode(raw)
    if late is None:
        return outcome

    added = _OUTCOME.decode(late)
    return msgspec.structs.replace(
        outcome,
        usage=added.usage,
        cost_usd=added.cost_usd,
        provider=added.provider,
        model=added.model,
    )


def parse(job_id: str, values: Sequence[bytes | None]) -> Record | None:
    """Parse a record from its `FIELDS`; None when there is none. JobUnreadable when it is corrupt."""
    try:
        return _parse(job_id, Fields(*values))
    except DAMAGE:
        shown = [b"" if value is None else value for value in values[:2]]
        state, org = (value.decode("ascii", "replace")[:SHOWN_MAX] for value in shown)
        raise JobUnreadable(job_id, decode_id(org), state) from None


def _parse(job_id: str, fields: Fields) -> Record | None:
    if fields.state is None:
        return None
    if fields.v is not None and int(fields.v) > VERSION:
        raise ValueError("the record is of a newer release")

    token, past = (fields.entry or b"").decode(), _past(fields.past)
    waits = token.startswith(("d", "t", "p"))
    snapshot = _snapshot(job_id, fields, waits=waits, superseded=sum(lease.wrote for lease in past))
    return Record(
        snapshot=snapshot, token=token, past=past, last=_number(fields.last) or 1, offset=_number(fields.offset) or 0
    )


def _snapshot(job_id: str, fields: Fields, *, waits: bool, superseded: int) -> JobSnapshot:
    """The job as it stands. `waits`: its due time, or its deadline at a gate, is yet to come."""
    if fields.state is None or fields.spec is None or fields.org is None:
        raise ValueError("a part of the record is gone")

    snapshot = JobSnapshot(
        id=job_id,
        organization_id=decode_id(fields.org.decode()),
        status=JobStatus(fields.state.decode()),
        spec=_SPEC.decode(fields.spec),
        attempt=_number(fields.attempt) or 0,
        created_ms=_time(fields.created) or 0,
        deadline_ms=_time(fields.deadline) or 0,
        started_ms=_time(fields.started),
        ended_ms=_time(fields.ended),
        next_attempt_ms=_time(fields.due) if waits else None,
        cancel_requested=fields.cancel is not None,
        retried_as=None if fields.retried_as is None else fields.retried_as.decode(),
        outcome=_outcome(fields.outcome, fields.late),
        superseded=superseded,
    )
    for value in (snapshot.spec.metadata, snapshot.spec.response_schema):
        _check_depth(value)
    if snapshot.outcome is not None:
        _check_depth(snapshot.outcome.metadata)
    return snapshot


def _text(raw: bytes | int) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)


def _passed_over(text: str) -> tuple[PassedOver, ...]:
    found = []
    for part in text.split(",") if text else ():
        gate, _, reason = part.rpartition(" ")
        provider, model = split(gate)
        found.append(PassedOver(provider=provider, model=model, reason=reason))
    return tuple(found)


def parse_claim(row: Sequence[bytes | int], consumer: str, now_ms: int) -> Claim:
    """One claim from a row of claim.lua."""
    job, token, spec, attempt, created, deadline, losses, gate, route, passed_over, reserved, spent, lost, *rest = row
    ready, logged, capped, bound, budgeted, mismatch, token_limit, retained = rest
    if not isinstance(job, bytes) or not isinstance(token, bytes) or not isinstance(spec, bytes):
        raise TypeError("claim.lua answered a row of another shape")

    text, asked = token.decode(), _SPEC.decode(spec)
    for value in (asked.metadata, asked.response_schema):
        _check_depth(value)
    return Claim(
        job_id=job.decode(),
        token=text,
        consumer=consumer,
        spec=asked,
        attempt=int(attempt),
        created_ms=int(created),
        ready_ms=int(ready),
        started_ms=now_ms,
        deadline_ms=int(deadline),
        losses=int(losses),
        gate=_text(gate),
        route=tuple(_text(route).split()) if route else (),
        reserved=int(reserved),
        passed_over=_passed_over(_text(passed_over)) if passed_over else (),
        spent=_SPENT.decode(_text(spent)) if spent else None,
        lost_bytes=int(lost),
        logged=logged != 0,
        before=_last_of(logged),
        capped=capped == 1,
        bound=int(bound) if bound != b"" else None,
        budgeted=budgeted == 1,
        mismatch=_text(mismatch),
        token_limit=int(token_limit),
        retained=retained == 1,
    )


def parse_claims(
    rows: Sequence[Sequence[bytes | int]], consumer: str, now_ms: int
) -> tuple[list[Claim], list[Sequence[bytes | int]]]:
    """The claims of a reply, and apart from them the rows that cannot be read: one of them must not cost the others."""
    claims, unreadable = [], []
    for row in rows:
        try:
            claims.append(parse_claim(row, consumer, now_ms))
        except DAMAGE:
            unreadable.append(row)
    return claims, unreadable
