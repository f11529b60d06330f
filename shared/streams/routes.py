"""`GET /api/ai/job-events`: from a request to a stream, or to the status by which EventSource goes on or ends.

EventSource comes back after a 200 that ended, and never again after any other status: 204 and problems are final, and
every state that may pass (Redis away, too many streams, shutting down) is a 200 that ends at once with a `retry:`.
So is the limit of its organisation for an EventSource; other clients get a 429.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar
from urllib.parse import parse_qsl
from weakref import WeakValueDictionary

from litestar import asgi
from litestar.enums import ScopeType
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Send
from litestar.types import Scope as HttpScope

from shared.errors import JobNotFound, StoreUnavailable
from shared.events import parse_event_id
from shared.http.auth import Identity, Scope
from shared.http.organization_limits import InUse
from shared.http.problems import (
    FORBIDDEN,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    ORGANIZATION_LIMIT,
    FieldError,
    Problem,
    invalid,
)
from shared.http.urls import read_job_id
from shared.identity.authenticator import Authenticator
from shared.identity.tickets import ORGANIZATION_EVENTS
from shared.job import IDENTIFIER
from shared.store.job_store import JobStore
from shared.store.pubsub.listeners import NOTIFIED, Listener
from shared.streams import sse
from shared.streams.key_watch import KeyWatch
from shared.streams.organization_feed import OrganizationFeed
from shared.streams.quotas import StreamQuotas
from shared.streams.round_robin import RoundRobin
from shared.streams.settings import StreamSettings
from shared.streams.sources import JobSource, OrganizationSource, SharedReads, Source, parse_stream_id
from shared.streams.sse import StreamResponse
from shared.streams.subscription import Hub, Subscription
from shared.telemetry.metrics import StreamMetrics

PATH: Final = "/api/ai/job-events"
MAX_PARAMETERS: Final = 100

CHECK_S: Final = 300.0
"""Seconds of silence after which a stream checks that its job exists and goes on, where commands are billed. Elsewhere
it checks at every heartbeat."""

CursorT = TypeVar("CursorT")


class Streams:
    """Serves requests for event streams."""

    def __init__(
        self,
        store: JobStore,
        hub: Hub,
        authenticator: Authenticator,
        metrics: StreamMetrics,
        settings: StreamSettings,
        *,
        open_streams: InUse,
        quotas: StreamQuotas,
    ) -> None:
        """`open_streams`: how many each organisation has open; `quotas`: and may have."""
        self._store = store
        self._hub = hub
        self._authenticator = authenticator
        self._watch = KeyWatch(authenticator)
        self._metrics = metrics
        self._heartbeat_s = settings.notifier_heartbeat_seconds
        self._send_s = settings.notifier_send_seconds
        self._stream_s = settings.notifier_stream_seconds or math.inf
        self._open_streams = open_streams
        self._quotas = quotas
        self._round_robin = RoundRobin()
        self._reads = SharedReads()
        self._check_s = CHECK_S if store.settings.frugal else 0.0
        self._feeds: WeakValueDictionary[str, OrganizationFeed] = WeakValueDictionary()

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != ScopeType.HTTP or scope["method"] != "GET":
            raise Problem(METHOD_NOT_ALLOWED, headers={"Allow": "GET"})
        headers = scope["headers"]
        response = StreamResponse(scope, receive, send, send_seconds=self._send_s)
        try:
            identity = await self._authenticator.identify_reader(scope)
        except StoreUnavailable:  # its key cannot be read now: a browser comes back after 200 alone
            await response.only(sse.retry_later())
            return
        identity.require_scope(Scope.EVENTS_READ)
        query = _query(scope["query_string"])
        resume = next((value.decode("latin-1") for name, value in headers if name == b"last-event-id"), "")
        resume = resume or query.get("lastEventId", "")
        response = StreamResponse(scope, receive, send, send_seconds=self._send_s)
        try:
            await self._answer(query, resume, identity, response)
        except Problem as problem:
            if problem.kind is not ORGANIZATION_LIMIT or not _is_event_source(headers):
                raise
            await response.only(sse.retry_limited())

    async def _answer(
        self, query: Mapping[str, str], resume: str, identity: Identity, response: StreamResponse
    ) -> None:
        job_id, organization_id = query.get("jobId"), query.get("organizationId")
        if (job_id is None) == (organization_id is None):
            raise invalid("jobId", "give either jobId or organizationId")
        _check_ticket(identity, job_id)
        if job_id is not None:
            await self._serve(self._job(job_id, identity), _cursor(resume, parse_event_id), identity, response)
        elif organization_id is not None:
            source = self._organization(organization_id, identity)
            await self._serve(source, _cursor(resume, parse_stream_id), identity, response)

    def _job(self, job_id: str, identity: Identity) -> JobSource:
        jobs = self._store.jobs_of(identity.organization_id)
        return JobSource(jobs, self._store.keys, read_job_id(job_id), self._reads)

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

    async def _serve(
        self, source: Source[CursorT], cursor: CursorT | None, identity: Identity, response: StreamResponse
    ) -> None:
        if self._hub.full:
            await response.only(sse.retry_later())
            return
        if identity.organization_id is not None:
            await self._quotas.read(identity.organization_id)
            self._open_streams.check(identity.organization_id)
        subscription = Subscription(
            source,
            response,
            heartbeat_s=self._heartbeat_s,
            stream_s=self._seconds(identity),
            check_s=self._check_s,
            metrics=self._metrics,
            round_robin=self._round_robin,
        )
        with self._hub.admitted(subscription), self._watch.watching(identity, subscription):
            if self._store.subscriber.covers(source.channel):
                async with self._store.subscriber.listen(source.channel) as listener:
                    await listener.wait(0)  # the first read has everything notified before it
                    await self._stream(subscription, source, cursor, listener)
            else:
                await self._stream(subscription, source, cursor, None)

    def _seconds(self, identity: Identity) -> float:
        """Longest time that a stream may last: its caller's key may end before."""
        if identity.expires_at is None:
            return self._stream_s
        return max(0.0, min(self._stream_s, identity.expires_at - time.time()))

    async def _stream(
        self,
        subscription: Subscription[CursorT],
        source: Source[CursorT],
        cursor: CursorT | None,
        listener: Listener | None,
    ) -> None:
        """Serve one stream. `listener`: it has listened since before the first read; None: listening costs a command,
        so it begins after the read."""
        response = subscription.response
        try:
            first = await source.read(cursor, NOTIFIED)
        except StoreUnavailable:
            await response.only(sse.retry_later())
            return
        if first.ended and not first.encoded:
            await response.nothing_more()
            return
        await self._quotas.read(first.organization_id)
        with self._open_streams.held(first.organization_id) as held:
            held.grow()
            await subscription.run(first, self._store.subscriber, listener)

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
    raise Problem(FORBIDDEN, errors=[FieldError("organizationId", "not what the ticket is for")])


def _is_event_source(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a browser's EventSource asks, or a client like it: it comes back after a 200 alone."""
    return any(name == b"accept" and b"text/event-stream" in value.lower() for name, value in headers)


def _query(raw: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError:
        raise invalid("query", f"not readable, or more than {MAX_PARAMETERS} parameters") from None
    query = dict(pairs)
    for name in ("jobId", "organizationId", "lastEventId", "ticket"):
        if sum(given == name for given, _ in pairs) > 1:
            raise invalid(name, "given twice")
    return query


def _cursor(text: str, parse: Callable[[str], CursorT]) -> CursorT | None:
    try:
        return parse(text) if text else None
    except ValueError:
        raise invalid("Last-Event-ID", "not an id of this stream") from None
