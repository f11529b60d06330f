"""Reads a job's record: the hash the scripts write, as a snapshot. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from shared.chain import split
from shared.job import Claim, JobSnapshot, JobSpec, JobStatus, Outcome, PassedOver, Spent

FIELDS: Final = (
    "state", "org", "spec", "attempt", "created", "deadline", "started", "ended", "entry", "past", "last", "offset",
    "cancel", "outcome", "late", "due", "v",
)  # fmt: skip
"""The fields of a record that readers ask for, in this order."""

VERSION: Final = 1
"""Of the records that this release writes and knows; see `lua/include/release.lua`."""

_SPEC: Final = msgspec.json.Decoder(JobSpec)
_OUTCOME: Final = msgspec.json.Decoder(Outcome)
_SPENT: Final = msgspec.json.Decoder(Spent)


class PastLease(msgspec.Struct, frozen=True):
    """A lease that ended in a requeue; `last` is the number of its `retrying` event. `started` in ms."""

    token: str
    reason: str
    attempt: int
    started: int
    last: int


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A record as it stands. `token` is the current or last lease (`d…` while delayed, `p…` while parked, 0-0 when it
    ended without one); `last` the last event in the log at the end; `offset` the characters its deltas hold (-1:
    all)."""

    snapshot: JobSnapshot
    token: str
    past: tuple[PastLease, ...]
    last: int
    offset: int


def _number(raw: bytes | None) -> int | None:
    return None if raw is None else int(raw)


def _past(raw: bytes | None) -> tuple[PastLease, ...]:
    leases = []
    for text in raw.decode().split(",") if raw else ():
        token, reason, attempt, started, last = text.split(" ")
        leases.append(PastLease(token, reason, int(attempt), int(started), int(last)))
    return tuple(leases)


def _outcome(raw: bytes | None, late: bytes | None) -> Outcome | None:
    """A late settle after a forced cancel may tell usage and cost, nothing else (I2)."""
    if raw is None:
        return None
    outcome = _OUTCOME.decode(raw)
    if late is None:
        return outcome
    settled = _OUTCOME.decode(late)
    return msgspec.structs.replace(
        outcome, usage=settled.usage, cost_usd=settled.cost_usd, provider=settled.provider, model=settled.model
    )


def parse(job_id: str, values: Sequence[bytes | None]) -> Record | None:
    """The record from its `FIELDS`; None when there is none (or its spec is gone). ValueError when it is corrupt."""
    state, org, spec, attempt, created, deadline, started, ended, entry, past, last, offset = values[:12]
    cancel, outcome, late, due, version = values[12:]
    if state is None or spec is None or org is None:
        return None
    if version is not None and int(version) > VERSION:
        raise ValueError("the record is of a newer release")
    token = (entry or b"").decode()
    status = JobStatus(state.decode())
    snapshot = JobSnapshot(
        id=job_id,
        organization_id=org.decode(),
        status=status,
        spec=_SPEC.decode(spec),
        attempt=_number(attempt) or 0,
        created_ms=_number(created) or 0,
        deadline_ms=_number(deadline) or 0,
        started_ms=_number(started),
        ended_ms=_number(ended),
        next_attempt_ms=_number(due) if token.startswith(("d", "p")) else None,
        cancel_requested=cancel is not None,
        outcome=_outcome(outcome, late),
    )
    return Record(
        snapshot=snapshot, token=token, past=_past(past), last=_number(last) or 1, offset=_number(offset) or 0
    )


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
    job, token, spec, attempt, created, deadline, losses, gate, route, passed_over, reserved, spent, lost = row
    if not isinstance(job, bytes) or not isinstance(token, bytes) or not isinstance(spec, bytes):
        raise TypeError("claim.lua answered a row of another shape")
    text = token.decode()
    return Claim(
        job_id=job.decode(),
        token=text,
        consumer=consumer,
        spec=_SPEC.decode(spec),
        attempt=int(attempt),
        created_ms=int(created),
        ready_ms=int(text[1:].split("-", 1)[0]),
        started_ms=now_ms,
        deadline_ms=int(deadline),
        losses=int(losses),
        gate=_text(gate),
        route=tuple(_text(route).split()) if route else (),
        reserved=int(reserved),
        passed_over=_passed_over(_text(passed_over)) if passed_over else (),
        spent=_SPENT.decode(_text(spent)) if spent else None,
        lost_bytes=int(lost),
    )


def parse_claims(
    rows: Sequence[Sequence[bytes | int]], consumer: str, now_ms: int
) -> tuple[list[Claim], list[Sequence[bytes | int]]]:
    """The claims of a reply, and apart from them the rows that cannot be read: one of them must not cost the others."""
    claims, unreadable = [], []
    for row in rows:
        try:
            claims.append(parse_claim(row, consumer, now_ms))
        except (TypeError, ValueError):
            unreadable.append(row)
    return claims, unreadable
