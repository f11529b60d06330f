"""The wire format of server-sent events. Pure."""

from __future__ import annotations

import random
from typing import Final

RETRY_MS: Final = 2000
"""How long a browser waits before it connects again after an ordinary break."""

AT_ONCE_MS: Final = (50, 250)
"""The same when the stream was closed on purpose in the middle of a job: text is coming."""

AWAY_MS: Final = (1000, 5000)
"""The same when this notifier cannot serve it now; random, so that not all come back at once."""

LIMITED_MS: Final = (5000, 15_000)
"""The same when its organisation has as many streams as it may have."""

HEARTBEAT: Final = b":\n\n"
"""A comment: keeps proxies from closing a silent stream, moves no cursor."""

HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)

NOTHING: Final = ((b"cache-control", b"no-store"),)
"""Headers of a 204."""


def event(event_id: str | None, kind: str, data: bytes) -> bytes:
    """One event; `data` is JSON on one line. Without an id the browser keeps the one before."""
    head = f"event: {kind}\ndata: " if event_id is None else f"id: {event_id}\nevent: {kind}\ndata: "
    return head.encode() + data + b"\n\n"


def position(event_id: str) -> bytes:
    """Moves the browser's cursor without an event."""
    return f"id: {event_id}\n\n".encode()


def retry(milliseconds: int = RETRY_MS) -> bytes:
    """Tells the browser how long to wait before it connects again."""
    return f"retry: {milliseconds}\n\n".encode()


def retry_at_once() -> bytes:
    """The same for a stream that has lasted as long as it may."""
    return retry(random.randint(*AT_ONCE_MS))  # noqa: S311 - spreads load, keeps no secret


def retry_later() -> bytes:
    """The same for a stream that ends because of us, not of the job."""
    return retry(random.randint(*AWAY_MS))  # noqa: S311 - spreads load, keeps no secret


def retry_limited() -> bytes:
    """The same for a stream that is one too many of its organisation."""
    return retry(random.randint(*LIMITED_MS))  # noqa: S311 - spreads load, keeps no secret
