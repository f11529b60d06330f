"""Limits of single organisations: how much of something each has in use in this process, and the 429 beyond it."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Literal, Self

import msgspec
from prometheus_client import Counter

from shared.http.problems import ORGANIZATION_LIMIT, Problem

QuotaOf = Callable[[str], int]
"""An organisation's limit, 0: none."""

RETRY_AFTER_S: Final = 5
"""For limits without a window: nobody knows when a stream or a wait of the organisation ends."""


class Limit(msgspec.Struct, frozen=True):
    """`name`: as problem documents have it. `unit`: as the registry of draft-ietf-httpapi-ratelimit-headers has it.
    `window_s`: the time over which it counts; None: it bounds how much is in use at once."""

    name: str
    unit: Literal["requests", "content-bytes", "concurrent-requests"] = "requests"
    window_s: int | None = None


STREAMS: Final = Limit("streams", "concurrent-requests")
LONG_POLLS: Final = Limit("longPolls", "concurrent-requests")
BODY_BYTES: Final = Limit("bodyBytes", "content-bytes")
SUBMITS: Final = Limit("submitsPerMinute", "requests", window_s=60)
QUEUED_JOBS: Final = Limit("queuedJobs", "requests")
QUEUED_BYTES: Final = Limit("queuedBytes", "content-bytes")
DELAYED_JOBS: Final = Limit("delayedJobs", "requests")
WAITING_CHAINS: Final = Limit("waitingChains", "requests")

LIMITS: Final = {
    limit.name: limit
    for limit in (STREAMS, LONG_POLLS, BODY_BYTES, SUBMITS, QUEUED_JOBS, QUEUED_BYTES, DELAYED_JOBS, WAITING_CHAINS)
}


def limit_reached(
    limit: Limit, quota: int, *, left: int = 0, retry_after_s: int = RETRY_AFTER_S, organization_id: str | None = None
) -> Problem:
    """The 429. `quota`: the limit's value; `left`: what is still free, and not enough; `retry_after_s`: time until more
    of it may be; `organization_id`: whose limit it is, if that is known."""
    unit = "" if limit.unit == "requests" else f';qu="{limit.unit}"'
    window = "" if limit.window_s is None else f";w={limit.window_s}"
    headers = {
        "RateLimit-Policy": f'"{limit.name}";q={quota}{unit}{window}',
        "RateLimit": f'"{limit.name}";r={left};t={retry_after_s}',
    }
    detail = f"{limit.name}: {quota}" if quota else limit.name
    return Problem(
        ORGANIZATION_LIMIT, detail, headers=headers, retry_after=retry_after_s, limit=limit.name,
        refused=organization_id,
    )  # fmt: skip


class InUse:
    """Of one limit: how much each organisation has in use here. Nothing is kept of one that has nothing in use."""

    def __init__(self, limit: Limit, quota_of: QuotaOf, refusals: Counter) -> None:
        """`refusals` counts by name of the limit."""
        self.limit = limit
        self._quota_of = quota_of
        self._refusals = refusals.labels(limit.name)
        self._used: dict[str, int] = {}

    def held(self, organization_id: str | None) -> Held:
        """A hold on nothing yet, to be entered with `with`. None: an identity that names organisations at will, which
        no limit is for."""
        return Held(self, organization_id)

    def check(self, organization_id: str | None, amount: int = 1, own: int = 0) -> None:
        """Raise the 429 `Problem` if so much more is too much. `own`: the same request's part of what is in use: a
        request alone always passes, however small the limit."""
        if organization_id is None or (quota := self._quota_of(organization_id)) == 0:
            return
        used = self._used.get(organization_id, 0)
        if used > own and used + amount > quota:
            self._refusals.inc()
            left = max(0, quota - used)
            raise limit_reached(self.limit, quota, left=left, organization_id=organization_id)

    def take(self, organization_id: str, amount: int) -> None:
        """Count more as in use."""
        self._used[organization_id] = self._used.get(organization_id, 0) + amount

    def give_back(self, organization_id: str, amount: int) -> None:
        """Count it as free again."""
        left = self._used.pop(organization_id) - amount
        if left:
            self._used[organization_id] = left


class Held:
    """A part of an organisation's limit, given back at the end of the block."""

    __slots__ = ("_amount", "_in_use", "_organization_id")

    def __init__(self, in_use: InUse, organization_id: str | None) -> None:
        self._in_use = in_use
        self._organization_id = organization_id
        self._amount = 0

    def grow(self, amount: int = 1) -> None:
        """Hold so much more; a 429 `Problem` if that is too much."""
        if self._organization_id is None:
            return
        self._in_use.check(self._organization_id, amount, self._amount)
        self._in_use.take(self._organization_id, amount)
        self._amount += amount

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._amount and self._organization_id is not None:
            self._in_use.give_back(self._organization_id, self._amount)
            self._amount = 0
