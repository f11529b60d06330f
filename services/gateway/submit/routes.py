"""The two calls that take jobs in. Raw ASGI: a framework's request machinery would cost more than all the rest."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
import structlog
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import HTTPScope, Receive, Scope, Send

from services.gateway.http.bodies import ClientGone, Head, read_body, read_head
from services.gateway.http.decoding import TOO_DEEP, decode, decode_shallow
from services.gateway.http.json_depth import Fault, look_over
from services.gateway.jobs.links import Links
from services.gateway.submit.admission import Admission
from services.gateway.submit.new_jobs import JobMaker, read_key, read_traceparent
from services.gateway.submit.schemas import MAX_JOBS, BatchJob, BatchRequest, JobRequest
from services.gateway.waiting.awaited_jobs import Expected
from shared.errors import PressworkError, StoreUnavailable
from shared.http.auth import Identity
from shared.http.prefix import prefix_of
from shared.http.problems import (
    INVALID,
    METHOD_NOT_ALLOWED,
    OVERLOADED,
    QUEUE_FULL,
    STORE_FULL,
    STORE_QUOTA,
    STORE_UNAVAILABLE,
    TOO_LARGE,
    FieldError,
    Problem,
    from_error,
    refused,
)
from shared.job import NewJob, Priority
from shared.store.results import Submitted
from shared.telemetry.metrics import SubmitMetrics
from shared.yielding import Turns

BODY_MAX: Final = 256 * 1024
BATCH_BODY_MAX: Final = 8 * 1024 * 1024
BATCH_LEVELS: Final = 500
"""A batch that is nested deeper is not cut into its jobs: every decoder goes this deep, and not every one deeper."""

_ALLOW: Final = "OPTIONS, POST"
PASSING: Final = (OVERLOADED, QUEUE_FULL, STORE_FULL, STORE_QUOTA, STORE_UNAVAILABLE)
"""What refuses good submits: counted from 0, so that the first one is seen as an increase."""

_encode: Final = msgspec.json.Encoder().encode


class Intake:
    """Takes jobs in: body to job to store to answer."""

    def __init__(
        self, expected: Expected, maker: JobMaker, admission: Admission, metrics: SubmitMetrics, links: Links
    ) -> None:
        self._expected = expected
        self._maker = maker
        self._admission = admission
        self._submitted = {lane: metrics.submitted.labels(lane) for lane in Priority}
        self._refused = metrics.refused
        for kind in PASSING:
            metrics.refused.labels(kind.slug)
        self._links = links
        self._log = structlog.get_logger().bind()  # a proxy would build a new logger for every line

    def routes(self) -> list[ASGIRouteHandler]:
        """The handlers, for the router of `/api/ai`."""

        @asgi("/generate-content", copy_scope=False)
        async def generate_content(scope: Scope, receive: Receive, send: Send) -> None:
            await self._answer(self.single, scope, receive, send)

        @asgi("/generate-content/batch", copy_scope=False)
        async def generate_content_batch(scope: Scope, receive: Receive, send: Send) -> None:
            await self._answer(self.batch, scope, receive, send)

        return [generate_content, generate_content_batch]

    async def _answer(self, call: Any, scope: Any, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _other_method(scope["method"], send)
            return
        try:
            await call(scope, receive, send)
        except ClientGone:
            return
        except Exception as error:
            self._refused.labels(from_error(error).kind.slug).inc()
            raise

    async def single(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """`POST /api/ai/generate-content`."""
        head = read_head(scope)
        body = await read_body(head, receive, BODY_MAX)
        job = self._maker.make(
            decode(body, JobRequest),
            body,
            _identity(scope),
            key=read_key(head.idempotency_key),
            traceparent=read_traceparent(head.traceparent),
        )
        await self._admission.admit(1, len(body))
        try:
            submitted = await self._submit(job)
        except StoreUnavailable as error:
            raise refused(error, job.id) from None
        location, answer = self._links.accepted(submitted, prefix_of(scope))
        await _send_json(send, 202, answer, (b"location", location))

    async def _submit(self, job: NewJob) -> Submitted:
        submitted = await self._expected.submit(job)
        if submitted.created:
            spec = job.spec
            self._submitted[spec.priority].inc()
            self._log.info("job submitted", job_id=job.id, organization=spec.organization_id, priority=spec.priority)
        return submitted

    async def batch(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """`POST /api/ai/generate-content/batch`: one answer per job, in order; a bad one spoils no other."""
        head = read_head(scope)
        body = await read_body(head, receive, BATCH_BODY_MAX)
        jobs, turns = [], Turns()
        for i, raw in enumerate((await _open_batch(body)).jobs):
            jobs.append(self._prepare(i, raw, head, _identity(scope)))
            await turns.give()
        sound = [job for job in jobs if isinstance(job, NewJob)]
        await self._admission.admit(len(sound), len(body))
        answers = await asyncio.gather(*(self._take(job) for job in jobs))
        if sound and all(_is_refusal(answer) for answer in answers):
            raise Problem(STORE_UNAVAILABLE, retry_after=1, jobs=answers)
        for reason in {answer["error"]["type"].rpartition(":")[2] for answer in answers if "error" in answer}:
            self._refused.labels(reason).inc()
        await _send_json(send, 202, _encode({"jobs": answers}))

    def _prepare(self, index: int, raw: msgspec.Raw, head: Head, identity: Identity) -> NewJob | Problem:
        prefix = f"jobs[{index}]"
        if len(bytes(raw)) > BODY_MAX:
            return Problem(TOO_LARGE, f"{prefix}: at most {BODY_MAX} bytes")
        try:
            request = decode(raw, BatchJob, prefix)
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

    async def _take(self, job: NewJob | Problem) -> dict[str, Any]:
        if isinstance(job, Problem):
            return {"error": job.document()}
        try:
            submitted = await self._submit(job)
        except StoreUnavailable as error:
            return {"error": refused(error, job.id).document()}
        except PressworkError as error:
            return {"error": from_error(error).document()}
        return {"jobId": submitted.job_id, "status": submitted.status}


async def _open_batch(body: bytes) -> BatchRequest:
    """A batch cut into its jobs; a 400 `Problem` when it is none."""
    for fault in look_over(body, BATCH_LEVELS, MAX_JOBS):
        if fault is not None:
            message = TOO_DEEP if fault is Fault.DEEP else f"expected `array` of length <= {MAX_JOBS}"
            raise Problem(INVALID, errors=[FieldError("jobs", message)])
        await asyncio.sleep(0)
    return decode_shallow(body, BatchRequest)


def _is_refusal(answer: dict[str, Any]) -> bool:
    return "error" in answer and answer["error"]["status"] == 503


def _identity(scope: HTTPScope) -> Identity:
    identity: Identity = scope["user"]
    return identity


async def _send_json(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    start = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _other_method(method: str, send: Send) -> None:
    if method != "OPTIONS":
        raise Problem(METHOD_NOT_ALLOWED, headers={"Allow": _ALLOW})
    await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", _ALLOW.encode())]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
