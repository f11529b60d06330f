"""`POST /v1/responses`: takes a job in, and answers with its end, its stream, or at once."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec
from litestar.types import HTTPScope, Receive, Send

from services.gateway.http.bodies import ClientGone, Posts, read_head, send_json
from services.gateway.http.decoding import decode
from services.gateway.http.responses import in_time
from services.gateway.jobs.finder import JobFinder
from services.gateway.jobs.status import StatusCall, StatusQuery
from services.gateway.responses.errors import RESPONSE_PENDING
from services.gateway.responses.new_responses import ResponseMaker, header
from services.gateway.responses.requests import ResponseRequest
from services.gateway.responses.streaming import ResponseStreams
from services.gateway.responses.views import show_job
from services.gateway.submit.single import BODY_MAX, SubmitCall
from shared.errors import JobNotFound
from shared.http.auth import Identity, Scope
from shared.http.problems import DRAINING, Problem
from shared.job import JobSnapshot
from shared.job_ids import JOB_ID
from shared.store.repeats import Repeats
from shared.store.transitions import Submit

RETRY_COUNT: Final = "x-stainless-retry-count"
"""Header in which OpenAI's SDKs count the repeats of a request, from 0."""

_encode: Final = msgspec.json.Encoder().encode


class CreateCall:
    """Creates responses."""

    def __init__(
        self,
        posts: Posts,
        *,
        maker: ResponseMaker,
        single: SubmitCall,
        status: StatusCall,
        finder: JobFinder,
        streams: ResponseStreams,
        repeats: Repeats,
        chain: Sequence[str],
        foreground_s: float,
        stop: asyncio.Event,
    ) -> None:
        """`foreground_s`: how long a plain create waits for the end; `stop` ends the waiting."""
        self._posts = posts
        self._maker = maker
        self._single = single
        self._status = status
        self._finder = finder
        self._streams = streams
        self._repeats = repeats
        self._chain = chain
        self._foreground_s = foreground_s
        self._stop = stop

    async def answer(self, scope: HTTPScope, receive: Receive, send: Send, identity: Identity) -> None:
        """Answer one request."""
        body = await self._posts.read(read_head(scope), receive, BODY_MAX, identity)
        request = decode(body, ResponseRequest)
        if request.stream:
            identity.require_scope(Scope.EVENTS_READ)
            await self._streams.check(identity)
        elif not request.background:
            identity.require_scope(Scope.JOBS_READ)

        job = await self._maker.make(request, body, scope, identity)
        job_id = await self._submit(job, body, _retries(scope), identity)
        if request.stream:
            created_ms = int(job_id.split("-")[2])
            await self._streams.serve(
                job_id, job.spec, created_ms, after=-1, identity=identity, scope=scope, receive=receive, send=send
            )
            return

        taken = self._finder.find(identity, job_id) if request.background else self._end(job_id, identity, receive)
        ended = await taken
        await send_json(send, 200, _encode(show_job(ended, self._chain)))
        await self._streams.forget_ended(ended, identity)

    # ---- in -----------------------------------------------------------------------------------------------------

    async def _submit(self, job: Submit, body: bytes, retries: int | None, identity: Identity) -> str:
        """Put the job into the queue, once however often its request is repeated. Its id."""
        if job.idempotency_key is None and retries is not None:
            job, known = await self._first(job, body, retries, identity)
            if known:
                return job.id
        return (await self._single.admit(job, len(body))).job_id

    async def _first(self, job: Submit, body: bytes, retries: int, identity: Identity) -> tuple[Submit, bool]:
        """The job of a request under the id that its first attempt had; True: it is in the queue, or was."""
        organization = job.spec.organization_id
        caller = _caller(identity, job.spec.project_id)
        digest = hashlib.blake2b(body, digest_size=16, key=caller).hexdigest()
        async with in_time():
            earlier = None if retries == 0 else await self._repeats.job_of(organization, digest)
            if earlier is None or JOB_ID.match(earlier) is None:
                await self._repeats.first(organization, digest, job.id)
                return job, False

        job = msgspec.structs.replace(job, id=earlier)
        try:
            await self._finder.find(identity, earlier)
        except JobNotFound:
            return job, False
        return job, True

    # ---- out ----------------------------------------------------------------------------------------------------

    async def _end(self, job_id: str, identity: Identity, receive: Receive) -> JobSnapshot:
        """The job once it has ended; a 504 `Problem` when that takes too long. ClientGone."""
        query = StatusQuery(job_id, wait=self._foreground_s)
        waiting = asyncio.create_task(self._status.read(identity, query), name="foreground-response")
        leaving = asyncio.create_task(_gone(receive), name="foreground-client")
        try:
            await asyncio.wait([waiting, leaving], return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise ClientGone
            job = waiting.result()
        finally:
            waiting.cancel()
            leaving.cancel()

        if job.status.terminal:
            return job
        if self._stop.is_set():
            raise Problem(DRAINING, retry_after=1, job_id=job_id)
        raise Problem(RESPONSE_PENDING, f"ask for it with GET /v1/responses/{job_id}", job_id=job_id)


def _retries(scope: HTTPScope) -> int | None:
    """Count of earlier sendings of this request by the SDK; None: it does not say."""
    said = header(scope, RETRY_COUNT) or ""
    return int(said) if said.isascii() and said.isdigit() and len(said) < 10 else None


async def _gone(receive: Receive) -> None:
    with contextlib.suppress(Exception):  # a connection that cannot be watched is as good as gone
        while (await receive())["type"] != "http.disconnect":
            pass


def _caller(identity: Identity, project: str) -> bytes:
    """A caller and its project, which a header may name, as the key of a digest: 64 bytes at most."""
    return hashlib.blake2b(f"{identity.name} {identity.organization_id} {project}".encode(), digest_size=32).digest()
