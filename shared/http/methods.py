"""Methods of raw ASGI calls, as Litestar answers those of its own handlers."""

from __future__ import annotations

from typing import Final

from litestar.types import Send

from shared.http.problems import METHOD_NOT_ALLOWED, Problem

_OPTIONS: Final = "OPTIONS"


async def answer_other_method(method: str, send: Send, *served: str) -> None:
    """Answer a request with a method that a call does not have: OPTIONS with those that it has, `served` and itself; a
    405 `Problem`, which names them too, for any other."""
    allow = ", ".join(sorted({*served, _OPTIONS}))
    if method != _OPTIONS:
        raise Problem(METHOD_NOT_ALLOWED, headers={"Allow": allow})
    await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", allow.encode())]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
