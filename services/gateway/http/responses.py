"""What the calls of `/api/ai` that are not submits have in common: time, JSON, and whose jobs they are about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from litestar import Request, Response

from shared.errors import StoreUnavailable
from shared.http.auth import Identity
from shared.http.problems import invalid

ANSWER_SECONDS: Final = 1.9
"""How long the store may take, however often it asks Redis; a client hears of a Redis that is away within 2 s."""

_encode: Final = msgspec.json.Encoder().encode
AnyRequest = Request[Identity, None, Any]


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    """Whatever the store is busy with, a client hears of it within 2 s."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            yield
    except TimeoutError:
        raise StoreUnavailable("Redis did not answer in time", sent=True) from None


def as_json(body: object) -> Response[bytes]:
    """A 200 that nobody keeps."""
    return Response(
        _encode(body), status_code=200, media_type="application/json", headers={"Cache-Control": "no-store"}
    )


def organization_of(identity: Identity, named: str | None) -> str:
    """The organisation that a call is about: the one it names, else the token's. A 400 or 403 `Problem` otherwise."""
    organization = named or identity.organization_id
    if organization is None:
        raise invalid("organizationId", "required")
    identity.require(organization)
    return organization
