"""Retries: the new job that is made of one that failed or was cancelled. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.chain import route_of
from shared.job import JobSnapshot, JobSpec
from shared.job_ids import new_job_id
from shared.store.transitions import Submit


def retry_of(
    ended: JobSnapshot, spec: JobSpec, *, chain: Sequence[str], deadline_ms: int, traceparent: str | None = None
) -> Submit:
    """A new job that asks for the same as one that ended, with a deadline of its own. `spec`: that of `ended`, with the
    models alone that the caller may use."""
    asked = msgspec.structs.replace(spec, retry_of=ended.id, traceparent=traceparent)
    return Submit(
        id=new_job_id(), spec=asked, route=route_of(asked, chain), deadline_ms=deadline_ms, own_deadline=False
    )
