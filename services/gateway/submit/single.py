"""`POST /api/ai/generate-content`: takes a job in. Raw ASGI: Litestar's own work would cost more than the rest."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import HTTPScope, Receive, Scope, Send

from services.gateway.http.bodies import Posts, read_head, send_json
from services.gateway.http.decoding import decode
from services.gateway.http.responses import Links
from services.gateway.submit.admission import Admission
from services.gateway.submit.new_jobs import JobMaker, read_key, read_traceparent
from services.gateway.submit.schemas import JobRequest, OperatorJobRequest
from shared.errors import StoreUnavailable
from shared.http.auth import Identity
from shared.http.error_responses import submit_unavailable
from shared.http.problems import ORGANIZATION_LIMIT, OVERLOADED, QUEUE_FULL, STORE_FULL, STORE_QUOTA, STORE_UNAVAILABLE
from shared.http.urls import prefix_of
from shared.identity.ticket_signer import TicketSigner
from shared.job import Priority
from shared.store.results import Submitted
from shared.store.transitions import Submit
from shared.telemetry.metrics import SubmitMetrics

PATH: Final = "/generate-content"
BODY_MAX: Final = 256 * 1024

TRANSIENT: Final = (ORGANIZATION_LIMIT, OVERLOADED, QUEUE_FULL, STORE_FULL, STORE_QUOTA, STORE_UNAVAILABLE)
"""Problems of good submits: counted from 0, so that the first one is seen as an increase."""

_encode: Final = msgspec.json.Encoder().encode


class SubmitCall:
    """Takes jobs in: body to job to store to answer. `submit`: the store's, or one that does more."""

    def __init__(
        self,
        posts: Posts,
        *,
        maker: JobMaker,
        admission: Admission,
        submit: Callable[[Submit], Awaitable[Submitted]],
        metrics: SubmitMetrics,
        links: Links,
        signer: TicketSigner,
    ) -> None:
        self._posts = posts
        self._maker = maker
        self._admission = admission
        self._submit = submit
        self._links = links
        self._signer = signer
        self._submitted = {queue: metrics.submitted.labels(queue) for queue in Priority}
        for kind in TRANSIENT:
            metrics.refused.labels(kind.slug)
        self._log = structlog.get_logger().bind()  # a proxy would build a new logger for every line

    def route(self) -> ASGIRouteHandler:
        """The handler, for the router of `/api/ai`."""

        @asgi(PATH, copy_scope=False)
        async def generate_content(scope: Scope, receive: Receive, send: Send) -> None:
            await self._posts.answer(self._answer, scope, receive, send)

        return generate_content

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send, identity: Identity) -> None:
        job, submitted = await self.take(scope, receive, identity)
        ticket = await self._signer.issue_for_job(
            identity, job.spec.organization_id, submitted.job_id, time.time() + job.deadline_ms / 1000
        )
        accepted = self._links.accepted(submitted, prefix_of(scope), ticket)
        await send_json(send, 202, _encode(accepted), (b"location", accepted.links.status.encode()))

    async def take(self, scope: HTTPScope, receive: Receive, identity: Identity) -> tuple[Submit, Submitted]:
        """Take the job of a request in; it, and how it was taken."""
        head = read_head(scope)
        body = await self._posts.read(head, receive, BODY_MAX, identity)

        kind = JobRequest if identity.organization_id is not None else OperatorJobRequest
        key, traceparent = read_key(head.idempotency_key), read_traceparent(head.traceparent)
        job = self._maker.make(decode(body, kind), body, identity, key=key, traceparent=traceparent)
        return job, await self.admit(job, len(body))

    async def admit(self, job: Submit, size: int) -> Submitted:
        """Put a job of a body of `size` bytes into the queue. A 503 `Problem`, which names the job if it may have been
        accepted."""
        await self._admission.admit(1, size)
        try:
            return await self.submit(job)
        except StoreUnavailable as error:
            raise submit_unavailable(error, job.id) from None

    async def submit(self, job: Submit) -> Submitted:
        """Put a job into the queue, count it and log it. The errors are the store's."""
        submitted = await self._submit(job)
        if submitted.created:
            spec = job.spec
            self._submitted[spec.priority].inc()
            self._log.info("job_submitted", job_id=job.id, organization=spec.organization_id, priority=spec.priority)
        return submitted
