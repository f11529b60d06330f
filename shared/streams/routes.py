"""`GET /api/ai/job-events`: from a request to a stream, or to the status by which EventSource goes on or ends.

EventSource comes back after a 200 that ended, and never again after any other status: 204 and problems are final, and
every state that may pass (Redis away, too many streams, shutting down) is a 200 that ends at once with a `retry:`.
So is the limit of its organisation for an EventSource; other clients get a 429.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar
from urllib.parse import parse_qsl
from weakref import WeakValueDictionary

from litestar import asgi
from litestar.enums import ScopeType
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Send
from litestar.types import Scope as HttpScope

from shared.errors import JobNotFound, StoreUnavailable, StreamUnavailable
from shared.events import parse_event_id
from shared.http.auth import Identity, Scope
from shared.http.error_responses import Noticed
from shared.http.methods import answer_other_method
from shared.http.problems import (
    FORBIDDEN,
    NOT_FOUND,
    ORGANIZATION_LIMIT,
    FieldError,
    Problem,
    invalid,
)
from shared.http.urls import read_job_id
from shared.identity.authenticator import Authenticator
from shared.identity.tickets import ORGANIZATION_EVENTS
from shared.job_ids import IDENTIFIER
from shared.store.job_store import JobStore
from shared.streams import sse, ui_messages
from shared.streams.organization_feed import OrganizationFeed
from shared.streams.serving import Serving
from shared.streams.sources import JobSource, OrganizationSource, parse_stream_id
from shared.streams.sse import StreamResponse
from shared.streams.translation import TranslatedSource
from shared.streams.ui_messages import UiMessages

PATH: Final = "/api/ai/job-events"
MAX_PARAMETERS: Final = 100
AI_SDK: Final = "ai-sdk"
"""The `format` of streams for Vercel's AI SDK."""

RawHeaders = Iterable[tuple[bytes, bytes]]
CursorT = TypeVar("CursorT")


class Streams:
    """Answers requests for event streams."""

    def __init__(
        self, store: JobStore, serving: Serving, authenticator: Authenticator, noticed: Noticed | None = None
    ) -> None:
        """`noticed`: gets the problem of a browser whose organisation has too many streams: its answer is none."""
        self._store = store
        self._serving = serving
        self._authenticator = authenticator
        self._noticed = noticed
        self._feeds: WeakValueDictionary[str, OrganizationFeed] = WeakValueDictionary()

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != ScopeType.HTTP or scope["method"] != "GET":
            await answer_other_method(str(scope.get("method")), send, "GET")
            return

        response = self._serving.response(scope, receive, send)
        try:
            identity = await self._authenticator.identify_reader(scope)
        except StoreUnavailable:  # its key cannot be read now: a browser comes back after 200 alone
            await response.only(sse.retry_later())
            return
        identity.require_scope(Scope.EVENTS_READ)

        query = _query(scope["query_string"])
        if "format" in query:
            await self._translated(query, identity, scope, receive, send)
        else:
            await self._own(query, identity, response, scope["headers"])

    async def _own(
        self, query: Mapping[str, str], identity: Identity, response: StreamResponse, headers: RawHeaders
    ) -> None:
        """Stream in the protocol of our own, which an EventSource reads: it comes back after a 200 alone."""
        try:
            await self._answer(query, _last_event_id(headers, query), identity, response)
        except StreamUnavailable:
            await response.only(sse.retry_later())
        except Problem as problem:
            if problem.kind is not ORGANIZATION_LIMIT or not _is_event_source(headers):
                raise
            if self._noticed is not None:
                self._noticed(problem)
            await response.only(sse.retry_limited())

    async def _answer(
        self, query: Mapping[str, str], resume: str, identity: Identity, response: StreamResponse
    ) -> None:
        job_id, organization_id = query.get("jobId"), query.get("organizationId")
        if (job_id is None) == (organization_id is None):
            raise invalid("jobId", "give either jobId or organizationId")
        _check_ticket(identity, job_id)
        serve = self._serving.serve
        if job_id is not None:
            await serve(self._job(job_id, identity), _cursor(resume, parse_event_id), identity, response)
        elif organization_id is not None:
            source = self._organization(organization_id, identity)
            await serve(source, _cursor(resume, parse_stream_id), identity, response)

    async def _translated(
        self, query: Mapping[str, str], identity: Identity, scope: HttpScope, receive: Receive, send: Send
    ) -> None:
        """Stream a job in the protocol of Vercel's AI SDK: no EventSource reads it, so its errors are problems."""
        if query["format"] != AI_SDK:
            raise invalid("format", f"must be {AI_SDK}, or left out")
        job_id = read_job_id(query.get("jobId", ""))
        _check_ticket(identity, job_id)

        response = self._serving.response(scope, receive, send, headers=ui_messages.HEADERS)
        jobs = self._store.jobs_of(identity.organization_id)
        translation = UiMessages(job_id)
        source = TranslatedSource(jobs, self._store.keys, job_id, self._serving.reads, translation)
        await self._serving.serve(source, None, identity, response)

    def _job(self, job_id: str, identity: Identity) -> JobSource:
        jobs = self._store.jobs_of(identity.organization_id)
        return JobSource(jobs, self._store.keys, read_job_id(job_id), self._serving.reads)

    def _organization(self, organization_id: str, identity: Identity) -> OrganizationSource:
        if not self._store.settings.organization_events:
            raise Problem(NOT_FOUND, "ORGANIZATION_EVENTS is off")
        if IDENTIFIER.match(organization_id) is None:
            raise invalid("organizationId", "not an id")
        identity.require(organization_id)
        feed = self._feeds.get(organization_id)
        if feed is None:
            feed = self._feeds[organization_id] = OrganizationFeed(self._store.organization_events, organization_id)
        return OrganizationSource(feed, self._store.keys, organization_id)

    def route(self) -> ASGIRouteHandler:
        """The route, for Litestar."""

        @asgi(PATH, copy_scope=False)
        async def job_events(scope: HttpScope, receive: Receive, send: Send) -> None:
            await self(scope, receive, send)

        return job_events


def _check_ticket(identity: Identity, job_id: str | None) -> None:
    """JobNotFound, or a 403 `Problem`, for a ticket that is for something else."""
    if identity.ticket_for in ("", job_id or ORGANIZATION_EVENTS):
        return
    if job_id is not None:
        raise JobNotFound(job_id)
    errors = [FieldError("organizationId", "not what the ticket is for")]
    raise Problem(FORBIDDEN, errors=errors, refused=identity.holder)


def _last_event_id(headers: RawHeaders, query: Mapping[str, str]) -> str:
    """The cursor of a reader that comes back: a browser sends the header, others may use the parameter."""
    sent = next((value.decode("latin-1") for name, value in headers if name == b"last-event-id"), "")
    return sent or query.get("lastEventId", "")


def _is_event_source(headers: RawHeaders) -> bool:
    """Whether a browser's EventSource asks, or a client like it."""
    return any(name == b"accept" and b"text/event-stream" in value.lower() for name, value in headers)


def _query(raw: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError:
        raise invalid("query", f"not readable, or more than {MAX_PARAMETERS} parameters") from None
    query = dict(pairs)
    for name in ("jobId", "organizationId", "lastEventId", "ticket", "format"):
        if sum(given == name for given, _ in pairs) > 1:
            raise invalid(name, "given twice")
    return query


def _cursor(text: str, parse: Callable[[str], CursorT]) -> CursorT | None:
    try:
        return parse(text) if text else None
    except ValueError:
        raise invalid("Last-Event-ID", "not an id of this stream") from None
