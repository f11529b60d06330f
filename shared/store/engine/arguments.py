"""What the scripts take for one job: the values of their ITEM headers, in order. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from shared.chain import split
from shared.job import DEADLINE_MS, NANO, Claim, JobError, JobSpec, JobStatus, NewJob, Outcome, RetryReason, Spent
from shared.store.engine.script_calls import Item
from shared.store.keys import encode_id
from shared.store.reading import records, usage
from shared.store.results import CallReport
from shared.store.transitions import Finish, Requeue, Reroute

_encode: Final = msgspec.json.Encoder().encode


def submit(job: NewJob, key: str, key_ttl_ms: int) -> tuple[Item, int]:
    """Of submit.lua, and its size in bytes. `key`: last part of its idempotency key's name, empty without one."""
    spec, body = job.spec, _encode(job.spec)
    own = job.deadline_ms != DEADLINE_MS if job.own_deadline is None else job.own_deadline
    item = (
        job.id, encode_id(spec.organization_id), body, spec.priority[0], job.delay_ms, job.deadline_ms,
        spec.max_attempts, " ".join(job.route), spec.max_tokens or "", key, job.fingerprint, key_ttl_ms, int(own),
    )  # fmt: skip
    return item, len(body)


def _kept(spec: JobSpec, status: JobStatus) -> JobSpec:
    """What an ended job's record keeps of its spec: only a failed one can be retried, nobody else needs the prompt."""
    if status is JobStatus.FAILED:
        return spec
    return msgspec.structs.replace(spec, prompt="", parameters={})


def _used(claim: Claim, outcome: Outcome) -> str:
    return usage.line(claim.spec.organization_id, claim.spec.project_id, outcome)


def finish(finish: Finish) -> tuple[Item, int]:
    """Of finish.lua, and its size in bytes."""
    claim, outcome, number = finish.claim, finish.outcome, finish.number
    has_tail = outcome.result is not None and finish.offset < len(outcome.result)
    body, kept = _encode(outcome), _encode(_kept(claim.spec, finish.status))
    brief = _encode(msgspec.structs.replace(outcome, result=None)) if len(body) >= records.BRIEF_FROM else ""
    item = (
        claim.consumer, claim.job_id, encode_id(claim.spec.organization_id), claim.token, finish.status, body,
        number, finish.offset, number + 1 + int(has_tail), claim.started_ms + finish.run_ms, kept,
        _used(claim, outcome), brief,
    )  # fmt: skip
    return item, len(body) + len(kept)


def _ended_after(failure: JobError, claim: Claim, spent: Spent | None) -> Outcome:
    """How a job ends whose tries are used up: what they cost was spent all the same."""
    if spent is None:
        return Outcome(error=failure)
    provider, model = split(claim.gate)
    cost = None if spent.cost is None else spent.cost / NANO
    return Outcome(error=failure, provider=provider, model=model, usage=spent.usage, cost_usd=cost)


def requeue(requeue: Requeue) -> Item:
    """Of requeue.lua."""
    claim, spent = requeue.claim, requeue.spent
    failure = requeue.error or JobError(type="GaveUp", message="the job was handed back too often")
    outcome = _ended_after(failure, claim, spent)
    return (
        claim.consumer, claim.job_id, claim.token, claim.spec.priority[0], requeue.reason, requeue.delay_ms,
        int(requeue.refund), _encode(outcome), _encode(spent) if spent else "", _used(claim, outcome),
    )  # fmt: skip


def unreadable(consumer: str, job: bytes, token: bytes, delay_ms: int) -> Item:
    """Of requeue.lua, for a job whose record this release cannot read: another one may."""
    end = _encode(Outcome(error=JobError(type="Unreadable", message="no worker could read the job")))
    return (consumer, job, token, "n", RetryReason.ERROR, delay_ms, 0, end, "", "")


def _retry_after(retry_after_ms: int | None) -> int:
    return -1 if retry_after_ms is None else retry_after_ms


def reroute(reroute: Reroute) -> Item:
    """Of reroute.lua."""
    claim, spent = reroute.claim, reroute.spent
    chain = reroute.chain or (reroute.gate, *reroute.candidates)
    return (
        claim.consumer, claim.job_id, claim.token, claim.spec.priority[0], reroute.gate, reroute.report,
        _retry_after(reroute.retry_after_ms), " ".join(reroute.candidates), " ".join(chain),
        _encode(spent) if spent else "",
    )  # fmt: skip


def report(gate: str, outcome: CallReport, retry_after_ms: int | None, tokens: int) -> Item:
    """Of report.lua; arguments as in `JobStore.report`."""
    return (gate, outcome, _retry_after(retry_after_ms), tokens)
