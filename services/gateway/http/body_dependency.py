"""Bodies of typed calls: read with limits and decoded as strictly as those of submits."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Request
from litestar.di import NamedDependency, Provide

from services.gateway.http.bodies import read_body, read_head
from services.gateway.http.decoding import decode
from shared.http.auth import Identity

BODY_MAX: Final = 64 * 1024
BODY_ERRORS: Final = (400, 408, 413, 415)
"""Statuses for a body that cannot be read."""


def provide_body(kind: type[msgspec.Struct]) -> Provide:
    """The dependency that reads and decodes a body; it comes after that of the identity."""

    async def body(request: Request[Any, Any, Any], identity: NamedDependency[Identity]) -> Any:  # noqa: ARG001 - it says the order
        content = await read_body(read_head(request.scope), request.receive, BODY_MAX)
        return decode(content, kind)

    return Provide(body)
