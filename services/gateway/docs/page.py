"""The page at `/docs`: Swagger UI from an installed package, so that it renders without the internet.

All its addresses are relative: it works below any path that a proxy puts before it, reported to us or not.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import swagger_ui_bundle  # type: ignore[import-untyped]  # it holds one path
from litestar import Request, Response, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from shared.http.health import READING
from shared.version import VERSION

_AnyRequest = Request[Any, Any, Any]

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Presswork API {version}</title>
<link rel="stylesheet" href="{docs}assets/swagger-ui.css">
<link rel="icon" type="image/png" href="{docs}assets/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{docs}assets/swagger-ui-bundle.js"></script>
<script src="{docs}start.js"></script>
</body>
</html>
"""

_START: Final = b"""SwaggerUIBundle({
  url: new URL("openapi.json", document.currentScript.src).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""

_POLICY: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; connect-src *; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
"""The page may load nothing from elsewhere; it may call the notifier's origin."""

_ASSETS: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
"""The files of the package that the page needs, and no others: its own index calls a server of its makers."""

_KEPT: Final = {"Cache-Control": "public, max-age=3600"}


@cache
def _asset(name: str) -> bytes:
    return (Path(swagger_ui_bundle.swagger_ui_path) / name).read_bytes()


def _file(name: str) -> Response[bytes]:
    media = _ASSETS.get(name)
    if media is None:
        raise NotFoundException
    return Response(_asset(name), media_type=media, headers=_KEPT)


def page_routes() -> list[HTTPRouteHandler]:
    """The page and its assets. None of them is in the document."""

    @route("/docs", http_method=READING, include_in_schema=False)
    async def page(request: _AnyRequest) -> Response[str]:
        below = (request.scope.get("raw_path") or b"").endswith(b"/")
        html = _PAGE.format(docs="" if below else "docs/", version=VERSION)
        return Response(html, media_type="text/html; charset=utf-8", headers=_POLICY)

    @route("/docs/start.js", http_method=READING, include_in_schema=False)
    async def start() -> Response[bytes]:
        return Response(_START, media_type="text/javascript")

    @route("/docs/assets/{name:str}", http_method=READING, include_in_schema=False)
    async def asset(name: FromPath[str]) -> Response[bytes]:
        return _file(name)

    @route("/favicon.ico", http_method=READING, include_in_schema=False)
    async def favicon() -> Response[bytes]:
        return _file("favicon-32x32.png")

    return [page, start, asset, favicon]
