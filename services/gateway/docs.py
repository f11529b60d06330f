"""The page at `/docs`: Swagger UI from an installed package, so that it renders without the internet."""

from __future__ import annotations

from typing import Final

import swagger_ui_bundle  # type: ignore[import-untyped]  # it holds one path
from litestar import Response, route
from litestar.handlers import HTTPRouteHandler
from litestar.response import Redirect
from litestar.router import Router
from litestar.static_files import create_static_files_router

from shared.http.ops import READING

_PAGE: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Presswork API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/assets/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

_START: Final = b"""SwaggerUIBundle({
  url: "/docs/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""

_POLICY: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "connect-src *; base-uri 'none'; frame-ancestors 'none'"
}
"""The page may load nothing from elsewhere; it may call the notifier's origin."""


def docs_routes(document: bytes) -> list[HTTPRouteHandler | Router]:
    """The page, its assets and the OpenAPI document; `/` leads there."""

    @route("/", http_method=READING)
    async def index() -> Redirect:
        return Redirect("/docs")

    @route("/docs", http_method=READING)
    async def page() -> Response[bytes]:
        return Response(_PAGE, media_type="text/html", headers=_POLICY)

    @route("/docs/start.js", http_method=READING)
    async def start() -> Response[bytes]:
        return Response(_START, media_type="text/javascript")

    @route("/docs/openapi.json", http_method=READING)
    async def openapi() -> Response[bytes]:
        return Response(document, media_type="application/json")

    assets = create_static_files_router(
        "/docs/assets", directories=[swagger_ui_bundle.swagger_ui_path], include_in_schema=False
    )
    return [index, page, start, openapi, assets]
