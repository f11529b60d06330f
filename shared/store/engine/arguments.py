"""Transitions as the scripts take them: the values of their ITEM headers. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from shared.chain import split
from shared.job import NANO, Claim, JobError, JobSpec, JobStatus, Outcome, RetryReason, Spent
from shared.store.engine.signatures import FinishItem, ReportItem, RequeueItem, RerouteItem, SubmitItem
from shared.store.keys import Keys, encode_id
from shared.store.reading import records, usage
from shared.store.results import CallReport
from shared.store.transitions import DEADLINE_MS, Finish, Requeue, Reroute, Submit

KEY_SLACK_MS: Final = 7_200_000
"""So much longer than its job's record an idempotency key is remembered."""

_encode: Final = msgspec.json.Encoder().encode


def submit(submit: Submit, result_ttl_ms: int) -> tuple[SubmitItem, int]:
    """Item of submit.lua, and its size in bytes. `result_ttl_ms`: how long an ended job's record is kept."""
    spec, body = submit.spec, _encode(submit.spec)
    own = submit.deadline_ms != DEADLINE_MS if submit.own_deadline is None else submit.own_deadline

    key, key_ttl_ms = "", 0
    if submit.idempotency_key is not None:
        key = Keys.idempotency(spec.organization_id, submit.idempotency_key)
        key_ttl_ms = submit.delay_ms + submit.deadline_ms + result_ttl_ms + KEY_SLACK_MS

    item = SubmitItem(
        job=submit.id, organization=encode_id(spec.organization_id), spec=body, queue=spec.priority[0],
        delay=submit.delay_ms, deadline=submit.deadline_ms, max_attempts=spec.max_attempts,
        route=" ".join(submit.route), max_tokens=spec.max_tokens or "", idempotency=key,
        fingerprint=submit.fingerprint, idempotency_ttl=key_ttl_ms, own_deadline=int(own),
    )  # fmt: skip
    return item, len(body)


def _kept(spec: JobSpec, status: JobStatus) -> JobSpec:
    """The part of its specification that an ended job's record keeps: only a failed one can be retried and needs the
    prompt."""
    if status is JobStatus.FAILED:
        return spec
    return msgspec.structs.replace(spec, prompt="", parameters={})


def _used(claim: Claim, outcome: Outcome) -> str:
    return usage.line(claim.spec.organization_id, claim.spec.project_id, outcome)


def finish(finish: Finish) -> tuple[FinishItem, int]:
    """Item of finish.lua, and its size in bytes."""
    claim, outcome, number = finish.claim, finish.outcome, finish.number
    has_tail = outcome.result is not None and finish.offset < len(outcome.result)
    body, kept = _encode(outcome), _encode(_kept(claim.spec, finish.status))
    brief = _encode(msgspec.structs.replace(outcome, result=None)) if len(body) >= records.BRIEF_FROM else b""
    item = FinishItem(
        consumer=claim.consumer, job=claim.job_id, organization=encode_id(claim.spec.organization_id),
        token=claim.token, status=finish.status, outcome=body, number=number, offset=finish.offset,
        final=number + 1 + int(has_tail), ended=claim.started_ms + finish.run_ms, spec=kept,
        usage=_used(claim, outcome), brief=brief,
    )  # fmt: skip
    return item, len(body) + len(kept)


def _ended_after(failure: JobError, claim: Claim, spent: Spent | None) -> Outcome:
    """Outcome of a job whose attempts are used up; it keeps the cost of them."""
    if spent is None:
        return Outcome(error=failure)
    provider, model = split(claim.gate)
    cost = None if spent.cost is None else spent.cost / NANO
    return Outcome(error=failure, provider=provider, model=model, usage=spent.usage, cost_usd=cost)


def requeue(requeue: Requeue) -> RequeueItem:
    """Item of requeue.lua."""
    claim, spent = requeue.claim, requeue.spent
    failure = requeue.error or JobError(type="GaveUp", message="the job was released too often")
    outcome = _ended_after(failure, claim, spent)
    return RequeueItem(
        consumer=claim.consumer, job=claim.job_id, token=claim.token, queue=claim.spec.priority[0],
        reason=requeue.reason, delay=requeue.delay_ms, refund=int(requeue.refund), outcome=_encode(outcome),
        spent=_encode(spent) if spent else b"", usage=_used(claim, outcome),
    )  # fmt: skip


def unreadable(consumer: str, job: bytes, token: bytes, delay_ms: int) -> RequeueItem:
    """Item of requeue.lua for a job whose record this release cannot read; another one may."""
    end = _encode(Outcome(error=JobError(type="Unreadable", message="no worker could read the job")))
    return RequeueItem(
        consumer=consumer, job=job, token=token, queue="n", reason=RetryReason.ERROR, delay=delay_ms, refund=0,
        outcome=end, spent=b"", usage="",
    )  # fmt: skip


def _retry_after(retry_after_ms: int | None) -> int:
    return -1 if retry_after_ms is None else retry_after_ms


def reroute(reroute: Reroute) -> RerouteItem:
    """Item of reroute.lua."""
    claim, spent = reroute.claim, reroute.spent
    chain = reroute.chain or (reroute.gate, *reroute.candidates)
    return RerouteItem(
        consumer=claim.consumer, job=claim.job_id, token=claim.token, queue=claim.spec.priority[0], gate=reroute.gate,
        report=reroute.report, retry=_retry_after(reroute.retry_after_ms), candidates=" ".join(reroute.candidates),
        route=" ".join(chain), spent=_encode(spent) if spent else b"",
    )  # fmt: skip


def report(gate: str, outcome: CallReport, retry_after_ms: int | None, tokens: int) -> ReportItem:
    """Item of report.lua; arguments as in `JobStore.report`."""
    return ReportItem(gate=gate, report=outcome, retry=_retry_after(retry_after_ms), tokens=tokens)
