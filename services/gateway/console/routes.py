"""The routes of the console and of the front page."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, Response, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.gateway.console.assets import Asset, Assets
from services.gateway.console.pages import Page
from services.gateway.console.session_calls import SessionCalls
from services.gateway.settings import GatewaySettings
from shared.http.access import is_loopback
from shared.http.health import READING
from shared.http.urls import prefix_of
from shared.identity.authenticator import Authenticator
from shared.store.job_store import JobStore

REFRESH_S: Final = 3.0
FRUGAL_REFRESH_S: Final = 60.0
"""Time between two readings of an open page; the second where every command is billed."""

_KEPT: Final = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
_BRIEFLY: Final = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
_HTML: Final = "text/html"
_AnyRequest = Request[Any, Any, Any]


def is_served(settings: GatewaySettings, authenticator: Authenticator) -> bool:
    """Whether there is a console: CONSOLE, else where the service is on loopback or asks for keys."""
    if settings.console is not None:
        return settings.console
    return authenticator.required or is_loopback(settings.gateway_host)


class Console:
    """Serves the pages. `on`: with the console; the front page is always there."""

    def __init__(self, authenticator: Authenticator, store: JobStore) -> None:
        self._on = authenticator.sessions is not None
        self._authenticator = authenticator
        self._store = store
        self._assets = Assets()

    def routes(self) -> list[HTTPRouteHandler]:
        """All handlers; none of them is in the document."""
        routes = [self._front_route(), self._asset_route()]
        sessions = self._authenticator.sessions
        if not self._on or sessions is None:
            return routes
        settings = self._store.settings
        refresh_s = FRUGAL_REFRESH_S if settings.frugal else REFRESH_S
        calls = SessionCalls(self._authenticator, sessions, settings, refresh_seconds=refresh_s)
        return [*routes, self._page_route(), *calls.routes()]

    def _front_route(self) -> HTTPRouteHandler:
        page = Page("front.html", f"console/assets/{self._assets.digest}", console=self._on)

        @route("/", http_method=READING, include_in_schema=False)
        async def front(request: _AnyRequest) -> Response[bytes]:
            # Without a slash at its end the path of a proxy would swallow relative addresses.
            prefix = prefix_of(request.scope)
            body = page.body.replace(b'="./', f'="{prefix}/'.encode()) if prefix else page.body
            return Response(body, media_type=_HTML, headers=page.headers | {"Vary": "X-Forwarded-Prefix"})

        return front

    def _page_route(self) -> HTTPRouteHandler:
        page = Page("index.html", f"assets/{self._assets.digest}")

        @route("/console", http_method=READING, include_in_schema=False)
        async def console(request: _AnyRequest) -> Response[bytes]:
            self._admit(request)
            if not (request.scope.get("raw_path") or b"").endswith(b"/"):
                return Response(b"", status_code=308, headers={"Location": "console/"})  # below any path
            return Response(page.body, media_type=_HTML, headers=page.headers)

        return console

    def _asset_route(self) -> HTTPRouteHandler:
        assets = self._assets

        @route("/console/assets/{digest:str}/{name:path}", http_method=READING, include_in_schema=False)
        async def asset(request: _AnyRequest, digest: FromPath[str], name: FromPath[str]) -> Response[bytes]:
            found = assets.find(name.removeprefix("/"))
            if found is None:
                raise NotFoundException
            # During a rolling update a page of the other release may ask: it gets what there is.
            return _file(request, found, _KEPT if digest == assets.digest else _BRIEFLY)

        return asset

    def _admit(self, request: _AnyRequest) -> None:
        """NotFoundException for other names than those of loopback, where no key is asked for."""
        if self._authenticator.required:
            return
        host = request.headers.get("host", "")
        name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
        if not is_loopback(name):
            raise NotFoundException


def _file(request: _AnyRequest, asset: Asset, headers: dict[str, str]) -> Response[bytes]:
    if asset.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, media_type=asset.media, headers=headers | {"Content-Encoding": "gzip"})
    return Response(asset.body, media_type=asset.media, headers=headers)
