"""Items of the scripts: one group of values for each job of a batch, named and typed as in ITEM of the headers."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

Value = bytes | str | int | float


class Item(msgspec.Struct, frozen=True):
    """One group of values."""


class SubmitItem(Item, frozen=True):
    """A new job. `queue`: first letter of its priority. Times in ms, `own_deadline` 0 or 1, `max_cost` in nano-USD.

    `ended`: the job that this one is the retry of; `kept`: what its record keeps of its spec; `task`: the task that
    redrives it; all empty when it is no retry.
    """

    job: str
    organization: str
    spec: bytes
    queue: str
    delay: int
    deadline: int
    max_attempts: int
    route: str
    max_tokens: int | str
    idempotency: str
    fingerprint: str
    idempotency_ttl: int
    own_deadline: int
    max_cost: int | str = ""
    ended: str = ""
    kept: bytes = b""
    task: str = ""


class AppendItem(Item, frozen=True):
    """A delta of a running job."""

    consumer: str
    job: str
    token: str
    number: int
    text: bytes


class FinishItem(Item, frozen=True):
    """The end of a running job. `ended` in ms since the epoch; `logged`, `capped`, `budgeted`, `retained` 0 or 1;
    `waited` and `ran` in ms."""

    consumer: str
    job: str
    organization: str
    token: str
    status: str
    outcome: bytes
    number: int
    offset: int
    final: int
    ended: int
    spec: bytes
    usage: str
    brief: bytes
    logged: int
    capped: int
    budgeted: int
    retained: int
    waited: int
    ran: int


class DeleteItem(Item, frozen=True):
    """A job to delete. `organization`: whose it must be; empty: anybody's. `trail_entry`: who asks, or empty. `task`:
    that counts it, or empty."""

    job: str
    organization: str
    trail_entry: bytes = b""
    task: str = ""


class KeyItem(Item, frozen=True):
    """A key to delete, by its whole name."""

    key: str


class DiscardItem(Item, frozen=True):
    """A failed job to take out of the index. `entry`: its entry there, empty: as its record says; `task`: that counts
    it, or empty."""

    job: str
    organization: str
    entry: str
    task: str


class RequeueItem(Item, frozen=True):
    """A running job that waits again. `delay` and `waited` in ms, the latter empty: unknown; `refund` 0 or 1;
    `mismatch`: why its text does not fit, or empty."""

    consumer: str | bytes
    job: str | bytes
    token: str | bytes
    queue: str
    reason: str
    delay: int
    refund: int
    outcome: bytes
    spent: bytes
    usage: str
    waited: int | str = ""
    mismatch: str = ""


class RerouteItem(Item, frozen=True):
    """A running job whose call failed before its first token. `retry` in ms, -1: unknown; `token_limit`: of its
    organisation at each gate, a minute; 0: none."""

    consumer: str
    job: str
    token: str
    queue: str
    gate: str
    report: str
    retry: int
    candidates: str
    route: str
    spent: bytes
    token_limit: int


class ReportItem(Item, frozen=True):
    """Result of a call. `retry` in ms, -1: unknown; `organization`: whose call it was, encoded, empty: unknown;
    `token_limit`: its tokens a minute there, 0: no limit."""

    gate: str
    report: str
    retry: int
    tokens: int
    organization: str
    token_limit: int


class CancelItem(Item, frozen=True):
    """A job to end. `force` 0 or 1; `owner`: the organisation that it must belong to, encoded, empty: any.
    `trail_entry`: who asks, or empty."""

    job: str
    force: int
    owner: str
    trail_entry: bytes = b""


class RenewItem(Item, frozen=True):
    """A lease to renew."""

    token: str
    job: str


class KnownItem(Item, frozen=True):
    """A lease that the claiming worker knows of."""

    known: str


class HeldItem(Item, frozen=True):
    """A lease that the recovering worker itself holds."""

    held: str


class JobItem(Item, frozen=True):
    """A job by its id."""

    job: str


class QueueItem(Item, frozen=True):
    """A queue of throttled jobs: a gate, or `*`."""

    queue: str


class CountedItem(Item, frozen=True):
    """An organisation whose jobs are counted, and its entries in the streams: their ids, with spaces between."""

    organization: bytes
    in_line: bytes
    in_suspect: bytes
    in_isolated: bytes


class RefusalsItem(Item, frozen=True):
    """Refusals of an organisation, encoded, or of operators (`*`). `digest`: of its id; `counts`: kinds and numbers."""

    organization: str
    digest: str
    counts: str


class CallsItem(Item, frozen=True):
    """Failed calls of one kind, or with 0 `calls` a chain that jobs brought. What is not known is `-`."""

    gate: str
    failure: str
    route: str
    calls: int


class ReservedItem(Item, frozen=True):
    """An entry whose job may run and have reserved something."""

    token: bytes
    job: bytes


class DayItem(Item, frozen=True):
    """A day, counted since the epoch."""

    day: int


BATCHED: Mapping[str, type[Item]] = {
    "submit": SubmitItem,
    "append": AppendItem,
    "finish": FinishItem,
    "requeue": RequeueItem,
    "reroute": RerouteItem,
    "report": ReportItem,
}
"""Items of the scripts that are called through a `Coalescer`."""
