"""Turns what the server refuses into the domain's errors."""

from __future__ import annotations

from typing import Any, Final

from redis.exceptions import OutOfMemoryError, ResponseError

from shared.errors import LeaseLost, PressworkError, QuotaExceeded, StoreFull, StoreRejected, StoreUnavailable
from shared.store.connection import error_code

PASSING: Final = frozenset({"READONLY", "MISCONF", "LOADING", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN", "CLUSTERDOWN"})
"""Refusals that a healthy server gives up again: the call may be repeated later."""


QUOTA_TEXTS: Final = ("max daily request limit exceeded", "max requests limit exceeded")
CAPACITY_TEXT: Final = "db capacity quota exceeded"
"""Upstash's words, in whatever case: its documentation has both of the first, of now and of then."""

QUOTA_RETRY_S: Final = 30.0


def is_quota(text: str) -> bool:
    """Whether the host says that the quota of commands is used up."""
    return any(words in text.lower() for words in QUOTA_TEXTS)


def of_call(error: ResponseError) -> PressworkError:
    """Of a whole call: nothing of it took effect."""
    if isinstance(error, OutOfMemoryError) or CAPACITY_TEXT in str(error).lower():
        return StoreFull("Redis is out of memory")
    return StoreUnavailable(f"Redis refused: {error_code(error)}")


def check_item(reply: Any) -> None:
    """Of one item in a batch: raises what its ERROR means, returns for every other reply."""
    if not isinstance(reply, list) or reply[0] != b"ERROR":
        return
    text = reply[1].decode(errors="replace")
    code = error_code(text)
    if is_quota(text):
        raise QuotaExceeded("the command quota was used up in mid-script", retry_after_s=QUOTA_RETRY_S)
    if code == "OOM" or CAPACITY_TEXT in text.lower():
        raise StoreFull("Redis has no memory left for new jobs")
    if code == "NOGROUP":
        raise LeaseLost("the consumer group was lost")
    if code in PASSING:
        raise StoreUnavailable(f"Redis refuses writes: {code}")
    raise StoreRejected(f"Redis refused one item: {code}")
