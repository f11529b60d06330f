"""`POST /api/ai/generate-content/batch`: takes many jobs in, each accepted or rejected by itself. Raw ASGI, as the call
for one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import HTTPScope, Receive, Scope, Send

from services.gateway.http.bodies import Head, Posts, read_head, send_json
from services.gateway.http.decoding import TOO_DEEP, Fault, decode, decode_shallow, scan
from services.gateway.http.responses import JobId
from services.gateway.submit.admission import Admission
from services.gateway.submit.new_jobs import JobMaker, read_traceparent
from services.gateway.submit.schemas import MAX_JOBS, BatchJob, BatchRequest, OperatorBatchJob
from services.gateway.submit.single import BODY_MAX, SubmitCall
from shared.errors import PressworkError, StoreUnavailable
from shared.http.auth import Identity
from shared.http.error_responses import Noticed, from_error, submit_unavailable
from shared.http.problems import INVALID, STORE_UNAVAILABLE, TOO_LARGE, FieldError, Problem, ProblemDetails
from shared.job import JobStatus
from shared.store.transitions import Submit
from shared.telemetry.metrics import SubmitMetrics
from shared.yielding import Yields

PATH: Final = "/generate-content/batch"
BATCH_BODY_MAX: Final = 8 * 1024 * 1024
BATCH_LEVELS: Final = 500
"""Most levels of a batch that is cut into its jobs: every decoder goes this deep, and not every one deeper."""

_encode: Final = msgspec.json.Encoder().encode


class BatchAccepted(msgspec.Struct, frozen=True, rename="camel"):
    """A job of a batch that is in the queue."""

    job_id: JobId
    status: JobStatus


class BatchRejected(msgspec.Struct, frozen=True):
    """A job of a batch that was rejected, or whose submit failed and may have been written."""

    error: ProblemDetails


class BatchCall:
    """Takes batches in: one answer per job, in order; a bad one does not affect the others."""

    def __init__(
        self,
        single: SubmitCall,
        posts: Posts,
        maker: JobMaker,
        admission: Admission,
        *,
        metrics: SubmitMetrics,
        noticed: Noticed,
    ) -> None:
        """`noticed`: gets the problems of single jobs."""
        self._single = single
        self._posts = posts
        self._maker = maker
        self._admission = admission
        self._refused = metrics.refused
        self._noticed = noticed

    def route(self) -> ASGIRouteHandler:
        """The handler, for the router of `/api/ai`."""

        @asgi(PATH, copy_scope=False)
        async def generate_content_batch(scope: Scope, receive: Receive, send: Send) -> None:
            await self._posts.answer(self._answer, scope, receive, send)

        return generate_content_batch

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send, identity: Identity) -> None:
        head = read_head(scope)
        body = await self._posts.read(head, receive, BATCH_BODY_MAX, identity)

        jobs, yields = [], Yields()
        for i, raw in enumerate((await _open_batch(body)).jobs):
            jobs.append(self._prepare(i, bytes(raw), head, identity))
            await yields.give()

        sound = sum(isinstance(job, Submit) for job in jobs)
        await self._admission.admit(sound, len(body))
        answers = await asyncio.gather(*(self._submit(job) for job in jobs))

        rejected = [answer.error for answer in answers if isinstance(answer, BatchRejected)]
        if sound and len(rejected) == len(answers):
            _check_outage(rejected, answers)
        for reason in {error.type.rpartition(":")[2] for error in rejected}:
            self._refused.labels(reason).inc()
        await send_json(send, 202, _encode({"jobs": answers}))

    def _prepare(self, index: int, raw: bytes, head: Head, identity: Identity) -> Submit | Problem:
        prefix = f"jobs[{index}]"
        if len(raw) > BODY_MAX:
            return Problem(TOO_LARGE, f"{prefix}: at most {BODY_MAX} bytes")

        try:
            kind = BatchJob if identity.organization_id is not None else OperatorBatchJob
            request = decode(raw, kind, prefix)
            return self._maker.make(
                request,
                raw,
                identity,
                key=request.idempotency_key,
                traceparent=read_traceparent(head.traceparent),
                prefix=f"{prefix}.",
            )
        except Problem as problem:
            return problem

    async def _submit(self, job: Submit | Problem) -> BatchAccepted | BatchRejected:
        if isinstance(job, Problem):
            self._noticed(job)
            return BatchRejected(job.details)

        try:
            submitted = await self._single.submit(job)
        except StoreUnavailable as error:
            return BatchRejected(submit_unavailable(error, job.id).details)
        except PressworkError as error:
            problem = from_error(error)
            self._noticed(problem)
            return BatchRejected(problem.details)
        return BatchAccepted(submitted.job_id, submitted.status)


def _check_outage(errors: Sequence[ProblemDetails], answers: Sequence[BatchAccepted | BatchRejected]) -> None:
    """Raise a 503 `Problem` when the store refused every job of a batch."""
    if all(error.status == 503 for error in errors):
        raise Problem(STORE_UNAVAILABLE, retry_after=1, jobs=answers)


async def _open_batch(body: bytes) -> BatchRequest:
    """A batch cut into its jobs; a 400 `Problem` when it is none."""
    for fault in scan(body, BATCH_LEVELS, MAX_JOBS):
        if fault is not None:
            message = TOO_DEEP if fault is Fault.DEEP else f"expected `array` of length <= {MAX_JOBS}"
            raise Problem(INVALID, errors=[FieldError("jobs", message)])
        await asyncio.sleep(0)
    return decode_shallow(body, BatchRequest)
