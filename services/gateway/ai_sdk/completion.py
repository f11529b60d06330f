"""`POST /api/ai/completion`: takes a job in and streams it, as `useCompletion` of Vercel's AI SDK asks. Raw ASGI.

That hook can neither come back to a stream nor hide text of a lost attempt: its stream ends with an error then, which
names the job. Nor does it say that its reader stopped: a reader that leaves cancels its job, after a while in which it
could have been read elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Final

import structlog
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import HTTPScope, Receive, Scope, Send

from services.gateway.http.bodies import Posts
from services.gateway.jobs.cancel import CancelCall
from services.gateway.jobs.finder import JobFinder
from services.gateway.submit.single import SubmitCall
from shared.errors import PressworkError
from shared.http import auth
from shared.http.auth import Identity
from shared.http.problems import Problem
from shared.store.job_store import JobStore
from shared.streams import ui_messages
from shared.streams.serving import Serving
from shared.streams.translation import TranslatedSource
from shared.streams.ui_messages import UiMessages

PATH: Final = "/completion"

CANCEL_AFTER_S: Final = 10.0
"""Time in s from a reader's leaving to the cancel of its job."""

_log: Final = structlog.get_logger(__name__)


class CompletionCall:
    """Takes jobs in and streams them."""

    def __init__(
        self,
        posts: Posts,
        single: SubmitCall,
        *,
        serving: Serving,
        store: JobStore,
        finder: JobFinder,
        cancel: CancelCall,
        stop: asyncio.Event,
    ) -> None:
        """`stop`: the service stops, and cancels no job any more."""
        self._posts = posts
        self._single = single
        self._serving = serving
        self._store = store
        self._finder = finder
        self._cancel = cancel
        self._stop = stop
        self._leaving: set[asyncio.Task[None]] = set()
        self._reading: Counter[str] = Counter()

    def route(self) -> ASGIRouteHandler:
        """The handler, for the router of `/api/ai`."""

        @asgi(PATH, copy_scope=False)
        async def completion(scope: Scope, receive: Receive, send: Send) -> None:
            await self._posts.answer(self._answer, scope, receive, send)

        return completion

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send, identity: Identity) -> None:
        identity.require_scope(auth.Scope.EVENTS_READ)
        await self._serving.check(identity)
        _, submitted = await self._single.take(scope, receive, identity)
        job_id = submitted.job_id

        reader = _Reader(receive)
        response = self._serving.response(scope, reader, send, headers=ui_messages.HEADERS)
        translation = UiMessages(job_id, restarts=False)
        jobs = self._store.jobs_of(identity.organization_id)
        source = TranslatedSource(jobs, self._store.keys, job_id, self._serving.reads, translation)
        self._reading[job_id] += 1
        try:
            await self._serving.serve(source, None, identity, response)
        finally:
            self._reading[job_id] -= 1
            if not self._reading[job_id]:
                del self._reading[job_id]
            if reader.left and not translation.over and not self._stop.is_set():
                task = asyncio.create_task(self._cancel_later(identity, job_id), name="completion-left")
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    async def _cancel_later(self, identity: Identity, job_id: str) -> None:
        """Cancel the job of a reader that left, unless it ends before, or its request was repeated and is read."""
        try:
            async with asyncio.timeout(CANCEL_AFTER_S):
                await self._stop.wait()
                return
        except TimeoutError:
            pass
        if self._reading[job_id]:
            return

        try:
            job = await self._finder.find(identity, job_id)
            if not job.status.terminal:
                await self._cancel.end(identity, job)
                _log.info("completion_cancelled", job_id=job_id)
        except (PressworkError, Problem) as error:
            _log.warning("completion_not_cancelled", job_id=job_id, reason=type(error).__name__)


class _Reader:
    """A `receive` that remembers whether the client left."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.left = False

    async def __call__(self) -> Any:
        message = await self._receive()
        self.left = self.left or message["type"] == "http.disconnect"
        return message
