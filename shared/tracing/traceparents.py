"""W3C trace contexts as they cross HTTP and the queue: one string of 55 characters. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Final

_VALID: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")

SAMPLED: Final = "01"


def valid(text: str | None) -> str | None:
    """The trace context, if it can be continued; None for a malformed one, as its standard requires."""
    return text if text is not None and _VALID.match(text) else None


def of_lease(job_id: str, token: str, parent: str | None) -> str:
    """The context of the attempt under a lease. It is derived from the lease's token, so that the next attempt, in
    another worker, can name it. Without a valid `parent` all attempts of a job are of one trace, derived from its
    id."""
    span = hashlib.blake2b(f"{job_id} {token}".encode(), digest_size=8).hexdigest()
    if (known := valid(parent)) is not None:
        return f"{known[:36]}{span}{known[52:]}"
    return f"00-{hashlib.blake2b(job_id.encode(), digest_size=16).hexdigest()}-{span}-{SAMPLED}"
