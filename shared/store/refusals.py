"""Turns what the server refuses into the domain's errors."""

from __future__ import annotations

from typing import Any, Final

from redis.exceptions import OutOfMemoryError, ResponseError

from shared.errors import LeaseLost, PressworkError, StoreFull, StoreRejected, StoreUnavailable
from shared.store.connection import error_code

PASSING: Final = frozenset({"READONLY", "MISCONF", "LOADING", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN", "CLUSTERDOWN"})
"""Refusals that a healthy server gives up again: the call may be repeated later."""


def of_call(error: ResponseError) -> PressworkError:
    """Of a whole call: nothing of it took effect."""
    if isinstance(error, OutOfMemoryError):
        return StoreFull("Redis is out of memory")
    return StoreUnavailable(f"Redis refused: {error_code(error)}")


def check_item(reply: Any) -> None:
    """Of one item in a batch: raises what its ERROR means, returns for every other reply."""
    if not isinstance(reply, list) or reply[0] != b"ERROR":
        return
    code = error_code(reply[1].decode(errors="replace"))
    if code == "OOM":
        raise StoreFull("Redis has no memory left for new jobs")
    if code == "NOGROUP":
        raise LeaseLost("the consumer group was lost")
    if code in PASSING:
        raise StoreUnavailable(f"Redis refuses writes: {code}")
    raise StoreRejected(f"Redis refused one item: {code}")
