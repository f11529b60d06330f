"""`GET /api/admin/overview/events`: the figures of the fleet as server-sent events, one reading for all who watch.

Nothing is read while nobody watches. Where every command is billed, or over REST, there is no such stream: a console
asks `overview` once a minute.
"""

from __future__ import annotations

from typing import Final

from litestar import Router, asgi, get
from litestar.enums import ScopeType
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Send
from litestar.types import Scope as HttpScope

from services.gateway.admin.overview_feed import OverviewFeed, OverviewSource
from shared.errors import StoreUnavailable, StreamUnavailable
from shared.http.auth import Scope
from shared.http.error_responses import CALLER_ERRORS, documented
from shared.http.methods import answer_other_method
from shared.http.problems import NOT_FOUND, Problem, invalid
from shared.identity.authenticator import Authenticator
from shared.settings import StoreSettings
from shared.streams import sse
from shared.streams.serving import Serving
from shared.streams.sse import StreamResponse

ADMIN: Final = "/api/admin"
PATH: Final = "/overview/events"
STREAMS_MAX: Final = 100
"""Streams that one process serves at once."""

NEVER_SERVED: Final = "this handler only describes a raw call"


class OverviewEvents:
    """Answers requests for the stream."""

    def __init__(
        self, feed: OverviewFeed, serving: Serving, authenticator: Authenticator, settings: StoreSettings
    ) -> None:
        self._feed = feed
        self._serving = serving
        self._authenticator = authenticator
        self._on = settings.overview_events

    def route(self) -> ASGIRouteHandler:
        """The route, for Litestar."""

        @asgi(ADMIN + PATH, copy_scope=False)
        async def overview_events(scope: HttpScope, receive: Receive, send: Send) -> None:
            await self(scope, receive, send)

        return overview_events

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        """Handle one request. A browser's EventSource comes back after a 200 alone, so all that may pass is one."""
        if scope["type"] != ScopeType.HTTP or scope["method"] != "GET":
            await answer_other_method(str(scope.get("method")), send, "GET")
            return
        response = self._serving.response(scope, receive, send)
        try:
            await self._answer(scope, response)
        except (StoreUnavailable, StreamUnavailable):
            await response.only(sse.retry_later())

    async def _answer(self, scope: HttpScope, response: StreamResponse) -> None:
        identity = await self._authenticator.identify(scope)
        identity.require_scope(Scope.ADMIN)
        identity.require_operator()
        if scope["query_string"]:
            raise invalid("query", "this call takes no parameter")
        if not self._on:
            raise Problem(NOT_FOUND, "not in the pay-per-command profile and not over REST: ask overview once a minute")

        if self._feed.listeners >= STREAMS_MAX:
            raise StreamUnavailable("too many watch the overview here")
        await self._serving.serve(OverviewSource(self._feed), None, identity, response, listening=self._feed.listen())


@get(
    PATH,
    summary="The fleet in a few figures, again each second",
    media_type="text/event-stream",
    response_description="Events `overview`, whose data are the answer of `overview`; the stream has no end of its own",
    responses=documented(400, *CALLER_ERRORS, 404),
    opt={"scope": Scope.ADMIN},
)
async def overview_events() -> str:
    """See `OverviewEvents`."""
    raise NotImplementedError(NEVER_SERVED)


def described() -> Router:
    """The call, for the OpenAPI document."""
    return Router(ADMIN, route_handlers=[overview_events], tags=["administration"])
