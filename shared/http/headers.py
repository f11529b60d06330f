"""Headers of every response, of the application or of the server."""

from __future__ import annotations

from typing import Final

POLICY: Final = b"content-security-policy"

SAFE: Final[list[tuple[bytes, bytes]]] = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # Pages of other sites read through CORS or not at all: no response is a script, an image or a style sheet of
    # theirs.
    (b"cross-origin-resource-policy", b"same-origin"),
]

NOTHING_LOADS: Final = (POLICY, b"default-src 'none'; frame-ancestors 'none'")
"""Headers of responses that are no page: a browser that shows one runs nothing in it, and no page frames it."""
