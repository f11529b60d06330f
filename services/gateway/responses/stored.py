"""Calls of one response that exists: retrieve, cancel, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from litestar.types import HTTPScope, Receive, Send
from msgspec import Meta

from services.gateway.http.bodies import send_json
from services.gateway.http.queries import NoQuery, decode_query
from services.gateway.jobs.cancel import CancelCall
from services.gateway.jobs.delete import DeleteCall
from services.gateway.jobs.finder import JobFinder
from services.gateway.responses.objects import DeletedResponse
from services.gateway.responses.streaming import ResponseStreams
from services.gateway.responses.views import show_job
from shared.http.auth import Identity, Scope
from shared.http.problems import invalid

_encode: Final = msgspec.json.Encoder().encode


class RetrieveQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A response, or its stream from the event after `starting_after` on."""

    stream: Annotated[bool, Meta(description="Answer with the response's events")] = False
    starting_after: Annotated[int, Meta(ge=0, description="The last event that the reader has")] | None = None
    include_obfuscation: Annotated[bool, Meta(description="Has no effect: no event is padded")] = False


class StoredCalls:
    """Answers calls of one response."""

    def __init__(
        self, finder: JobFinder, cancel: CancelCall, delete: DeleteCall, streams: ResponseStreams, chain: Sequence[str]
    ) -> None:
        self._finder = finder
        self._cancel = cancel
        self._delete = delete
        self._streams = streams
        self._chain = chain

    async def retrieve(
        self, response_id: str, scope: HTTPScope, receive: Receive, send: Send, identity: Identity
    ) -> None:
        """`GET /v1/responses/{id}`. A HEAD is no answer: what is not to be stored is there after it."""
        query = decode_query(scope["query_string"], RetrieveQuery)
        identity.require_scope(Scope.EVENTS_READ if query.stream else Scope.JOBS_READ)
        if query.starting_after is not None and not query.stream:
            raise invalid("starting_after", "only with stream=true")
        if query.stream and scope["method"] == "HEAD":
            raise invalid("stream", "only with GET")

        job = await self._finder.find(identity, response_id)
        if not query.stream:
            await send_json(send, 200, _encode(show_job(job, self._chain)))
            if scope["method"] == "GET":
                await self._streams.forget_ended(job, identity)
            return
        after = -1 if query.starting_after is None else query.starting_after
        await self._streams.serve(
            job.id, job.spec, job.created_ms, after=after, identity=identity, scope=scope, receive=receive, send=send
        )

    async def cancel(self, response_id: str, scope: HTTPScope, send: Send, identity: Identity) -> None:
        """`POST /v1/responses/{id}/cancel`. One that has ended is answered as it is."""
        decode_query(scope["query_string"], NoQuery)
        identity.require_scope(Scope.JOBS_CANCEL)
        job = await self._finder.find(identity, response_id)
        if not job.status.terminal:
            await self._cancel.end(identity, job)
            job = await self._finder.find(identity, response_id)
        await send_json(send, 200, _encode(show_job(job, self._chain)))

    async def delete(self, response_id: str, scope: HTTPScope, send: Send, identity: Identity) -> None:
        """`DELETE /v1/responses/{id}`. One that runs is cancelled first."""
        decode_query(scope["query_string"], NoQuery)
        identity.require_scope(Scope.JOBS_CANCEL)
        await self._delete.delete(identity, response_id)
        await send_json(send, 200, _encode(DeletedResponse(response_id)))
