"""`/console/session`: signs a browser in with a key, answers who it is, and signs it out."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
import structlog
from litestar import HttpMethod, Request, Response, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from services.gateway.http.bodies import read_body, read_head
from services.gateway.http.decoding import decode
from services.gateway.http.responses import in_time
from shared.events import iso_time
from shared.http.auth import Identity
from shared.http.health import READING
from shared.http.problems import Problem
from shared.identity.authenticator import Authenticator
from shared.identity.sessions import SECONDS, Sessions, token_of
from shared.settings import StoreSettings
from shared.version import VERSION

BODY_MAX: Final = 4096
TOKEN_MAX: Final = 1024
PATH: Final = "/console/session"
_NO_STORE: Final = {"Cache-Control": "no-store"}
_AnyRequest = Request[Any, Any, Any]
_log: Final = structlog.get_logger(__name__)


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The key, or the token of API_TOKENS, of a person who signs in."""

    key: Annotated[str, Meta(min_length=1, max_length=TOKEN_MAX)]


class Caller(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The caller, as the pages need to know it. `organization_id` null: an operator, who sees all. `token`: goes with
    every call that changes something, in `X-Presswork-Token`; empty where no session is needed."""

    name: str
    key_id: str
    organization_id: str | None
    scopes: list[str]
    models: list[str]
    expires_at: str | None
    token: str


class SessionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`caller` null: sign in first. `refresh_seconds`: the shortest time between two readings of a page;
    `pay_per_command`: and that something must have changed; `overview_events`: whether the overview has a stream."""

    keys: bool
    caller: Caller | None
    refresh_seconds: float
    pay_per_command: bool
    overview_events: bool
    listing: bool
    version: str


class SessionCalls:
    """Signs browsers in and out."""

    def __init__(
        self, authenticator: Authenticator, sessions: Sessions, settings: StoreSettings, *, refresh_seconds: float
    ) -> None:
        self._authenticator = authenticator
        self._sessions = sessions
        self._refresh_seconds = refresh_seconds
        self._settings = settings

    def routes(self) -> list[HTTPRouteHandler]:
        """The handlers; none of them is in the document, for the pages alone call them."""

        @route(PATH, http_method=READING, include_in_schema=False)
        async def read_session(request: _AnyRequest) -> Response[SessionView]:
            return Response(await self.read(request), headers=_NO_STORE)

        @route(PATH, http_method=[HttpMethod.POST], status_code=201, include_in_schema=False)
        async def sign_in(request: _AnyRequest) -> Response[SessionView]:
            return await self.sign_in(request)

        @route(PATH, http_method=[HttpMethod.DELETE], status_code=204, include_in_schema=False)
        async def sign_out(request: _AnyRequest) -> Response[None]:
            self._sessions.check_origin(request.scope)
            gone = self._sessions.set_cookie(request.scope, "", 0)
            return Response(None, headers=_NO_STORE | {"Set-Cookie": gone})

        return [read_session, sign_in, sign_out]

    async def read(self, request: _AnyRequest) -> SessionView:
        """The caller of a browser; without one when it has to sign in. StoreUnavailable: its key cannot be read."""
        text = self._sessions.given(request.scope) if self._authenticator.required else ""
        try:
            async with in_time():
                identity = await self._authenticator.identify(request.scope)
        except Problem as problem:
            if problem.kind.status not in (401, 429):
                raise
            return self._view(None, "")
        return self._view(identity, text)

    async def sign_in(self, request: _AnyRequest) -> Response[SessionView]:
        """Exchange a key for a session's cookie; a `Problem` for a bad one, or from another page."""
        self._sessions.check_origin(request.scope)
        content = await read_body(read_head(request.scope), request.receive, BODY_MAX)
        wanted = decode(content, SignIn)
        async with in_time():
            identity = await self._authenticator.sign_in(request.scope, wanted.key)
            text, session = await self._sessions.issue(identity)

        identity = msgspec.structs.replace(identity, expires_at=session.expires_at)
        _log.info("console_signed_in", by=identity.name)
        cookie = self._sessions.set_cookie(request.scope, text, SECONDS)
        return Response(self._view(identity, text), status_code=201, headers=_NO_STORE | {"Set-Cookie": cookie})

    def _view(self, identity: Identity | None, text: str) -> SessionView:
        return SessionView(
            keys=self._authenticator.required,
            caller=None if identity is None else _caller(identity, text),
            refresh_seconds=self._refresh_seconds,
            pay_per_command=self._settings.frugal,
            overview_events=self._settings.overview_events,
            listing=self._settings.listing,
            version=VERSION,
        )


def _caller(identity: Identity, text: str) -> Caller:
    return Caller(
        name=identity.name, key_id=identity.key_id, organization_id=identity.organization_id,
        scopes=sorted(map(str, identity.scopes)), models=sorted(identity.models),
        expires_at=None if identity.expires_at is None else iso_time(round(identity.expires_at * 1000)),
        token=token_of(text) if text else "",
    )  # fmt: skip
