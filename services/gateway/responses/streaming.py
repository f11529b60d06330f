"""Streams of responses, and the end of those that are not to be stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog
from litestar.types import HTTPScope, Receive, Send

from services.gateway.http.responses import in_time
from services.gateway.responses.events import ResponseEvents
from services.gateway.responses.views import ResponseView
from shared.errors import PressworkError
from shared.http.auth import Identity
from shared.job import JobSnapshot, JobSpec
from shared.store.job_store import JobStore
from shared.streams.serving import Serving
from shared.streams.translation import TranslatedSource

_log: Final = structlog.get_logger(__name__)


class ResponseStreams:
    """Streams responses to their readers."""

    def __init__(self, store: JobStore, serving: Serving, chain: Sequence[str]) -> None:
        self._store = store
        self._serving = serving
        self._chain = chain

    async def check(self, identity: Identity) -> None:
        """Raise StreamUnavailable, or a 429 `Problem`, when no stream of this caller could begin now."""
        await self._serving.check(identity)

    async def serve(
        self,
        job_id: str,
        spec: JobSpec,
        created_ms: int,
        *,
        after: int,
        identity: Identity,
        scope: HTTPScope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Stream a response from the event after number `after` on. `created_ms`: see `ResponseEvents`."""
        events = ResponseEvents(ResponseView(job_id, spec, self._chain), created_ms, after=after)
        jobs = self._store.jobs_of(identity.organization_id)
        source = TranslatedSource(jobs, self._store.keys, job_id, self._serving.reads, events)
        await self._serving.serve(source, None, identity, self._serving.response(scope, receive, send))
        if events.ended:
            await self.forget(job_id, spec, identity)

    async def forget_ended(self, job: JobSnapshot, identity: Identity) -> None:
        """Delete a job that was answered and has ended, if it is not to be stored."""
        if job.status.terminal:
            await self.forget(job.id, job.spec, identity)

    async def forget(self, job_id: str, spec: JobSpec, identity: Identity) -> None:
        """Delete an ended job, if it is not to be stored. Its record's own end does so later if this fails."""
        if spec.response is None or spec.response.store:
            return
        try:
            async with in_time():
                await self._store.delete(job_id, identity.organization_id)
        except PressworkError as error:
            _log.warning("response_not_deleted", job_id=job_id, reason=type(error).__name__)
