"""Turns what the server refuses into the domain's errors."""

from __future__ import annotations

from typing import Any, Final

from redis.exceptions import AskError, ClusterDownError, OutOfMemoryError, ReadOnlyError, ResponseError

from shared.errors import (
    LeaseLost,
    OrganizationLimited,
    PressworkError,
    QuotaExceeded,
    StoreFull,
    StoreRejected,
    StoreUnavailable,
)
from shared.store.connection import error_advice
from shared.store.connection.connector import error_code

_UNSERVED: Final = ("access a non local key in a cluster node", "while the cluster is down")
"""How a server tells a script that its node does not serve the slot now: in mid-script it has no code of its own for
that (`scriptVerifyClusterState` of Valkey and Redis)."""

TRANSIENT: Final = frozenset({"READONLY", "MISCONF", "LOADING", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN", "CLUSTERDOWN"})
"""Refusals that a healthy server gives up again: the call may be repeated later."""


def elsewhere(error: ResponseError) -> bool:
    """Whether this server is not the master of our keys (any more), so that another one must be looked for.

    READONLY, MASTERDOWN: a replica. MOVED, ASK: another node has the slot. CLUSTERDOWN: the node is cut off.
    """
    return isinstance(error, AskError | ReadOnlyError | ClusterDownError)  # MOVED and MASTERDOWN derive from these


QUOTA_TEXTS: Final = ("max daily request limit exceeded", "max requests limit exceeded")
CAPACITY_TEXT: Final = "db capacity quota exceeded"
"""Upstash's words, in whatever case: its documentation has both of the first, of now and of then."""

QUOTA_RETRY_S: Final = 30.0


LIMIT_RETRY_MS: Final = 5000
"""Of a limit that no clock ends."""


def is_quota(text: str) -> bool:
    """Whether the host says that the quota of commands is used up."""
    return any(words in text.lower() for words in QUOTA_TEXTS)


def of_every_write(error: ResponseError) -> bool:
    """Whether the server refused this as it would have refused every write then, renewals of leases among them."""
    return error_code(error) in TRANSIENT


def of_call(error: ResponseError) -> PressworkError:
    """Of a whole call: nothing of it took effect."""
    if isinstance(error, OutOfMemoryError) or CAPACITY_TEXT in str(error).lower():
        return StoreFull("Redis is out of memory")
    return StoreUnavailable(f"Redis refused: {error_code(error)}")


def of_limit(refusal: str) -> OrganizationLimited:
    """Of a job that a script refused with `<limit> <its value> <ms until there is room>`; numbers may be missing."""
    limit, *numbers = refusal.split()
    quota, left_ms = map(int, numbers) if len(numbers) == 2 else (0, LIMIT_RETRY_MS)
    return OrganizationLimited(limit, quota, left_ms / 1000)


def check_item(reply: Any) -> None:
    """Of one item in a batch: raises what its ERROR means, returns for every other reply."""
    if not isinstance(reply, list) or reply[0] != b"ERROR":
        return
    message = reply[1].decode(errors="replace")
    code = error_code(message)
    if is_quota(message):
        raise QuotaExceeded("the command quota was used up in mid-script", retry_after_s=QUOTA_RETRY_S)
    if code == "OOM" or CAPACITY_TEXT in message.lower():
        raise StoreFull("Redis has no memory left for new jobs")
    if code == "NOGROUP":
        raise LeaseLost("the consumer group was lost")
    if code in TRANSIENT or any(text in message for text in _UNSERVED):
        raise StoreUnavailable(f"Redis refuses writes: {code}")
    if error_advice.is_permission(message):
        raise StoreUnavailable("Redis refuses this user")
    raise StoreRejected(f"Redis refused one item: {code}")
