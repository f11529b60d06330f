"""Turns refusals of the server into the domain's errors."""

from __future__ import annotations

from typing import Final

from redis.exceptions import AskError, ClusterDownError, OutOfMemoryError, ReadOnlyError, ResponseError

from shared.errors import (
    LeaseLost,
    PressworkError,
    QuotaExceeded,
    StoreFull,
    StoreRejected,
    StoreUnavailable,
)
from shared.store.connection import error_advice
from shared.store.connection.connector import error_code

_UNSERVED: Final = ("access a non local key in a cluster node", "while the cluster is down")
"""Texts that a script gets when its node does not serve the slot now: inside a script such errors have no code of their
own (`scriptVerifyClusterState` of Valkey and Redis)."""

TRANSIENT: Final = frozenset({"READONLY", "MISCONF", "LOADING", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN", "CLUSTERDOWN"})
"""Refusals that end by themselves on a healthy server: the call may be repeated later."""


def elsewhere(error: ResponseError) -> bool:
    """Whether this server is not, or no longer, the master of our keys, so that another one must be found.

    READONLY, MASTERDOWN: a replica. MOVED, ASK: another node has the slot. CLUSTERDOWN: the node is cut off.
    """
    return isinstance(error, AskError | ReadOnlyError | ClusterDownError)  # MOVED and MASTERDOWN derive from these


QUOTA_TEXTS: Final = ("max daily request limit exceeded", "max requests limit exceeded")
CAPACITY_TEXT: Final = "db capacity quota exceeded"
"""Upstash's texts, in any case of letters: its documentation has both of the first, new and old."""

QUOTA_RETRY_S: Final = 30.0


def is_quota(text: str) -> bool:
    """Whether the host says that the quota of commands is used up."""
    return any(words in text.lower() for words in QUOTA_TEXTS)


def of_every_write(error: ResponseError) -> bool:
    """Whether the server refused this as it would have refused every write then, renewals of leases among them."""
    return error_code(error) in TRANSIENT


def of_call(error: ResponseError) -> PressworkError:
    """The error of a whole call: nothing of it took effect."""
    if isinstance(error, OutOfMemoryError) or CAPACITY_TEXT in str(error).lower():
        return StoreFull("Redis is out of memory")
    return StoreUnavailable(f"Redis refused: {error_code(error)}")


def of_item(message: str) -> PressworkError:
    """The error of one item in a script: others of its batch may have taken effect."""
    code = error_code(message)
    if is_quota(message):
        return QuotaExceeded("the command quota was used up in mid-script", retry_after_s=QUOTA_RETRY_S)
    if code == "OOM" or CAPACITY_TEXT in message.lower():
        return StoreFull("Redis has no memory left for new jobs")
    if code == "NOGROUP":
        return LeaseLost("the consumer group was lost")
    if code in TRANSIENT or any(text in message for text in _UNSERVED):
        return StoreUnavailable(f"Redis refuses writes: {code}")
    if error_advice.is_permission(message):
        return StoreUnavailable("Redis refuses this user")
    return StoreRejected(f"Redis refused one item: {code}")
