"""Names and types of the values that each script takes, as mypy checks them: the stubs of the Lua sources.

ITEM of a header is a struct (`items.py`), ARGV are the keywords of an overload of `RunScript`, or of `RunAdminScript`
(`admin_signatures.py`); values that are the same in every call (`calls.py`) are left out. `signature_check.py` compares
both with the header when a store begins: a name that is changed in one place alone is refused there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Literal, Protocol, overload

from shared.store.engine.items import (
    CallsItem,
    CancelItem,
    CountedItem,
    DayItem,
    DeleteItem,
    HeldItem,
    Item,
    JobItem,
    KnownItem,
    QueueItem,
    RenewItem,
    RequeueItem,
    ReservedItem,
    Value,
)


class RunScript(Protocol):
    """Calls one script of jobs, of those who wait for them, or of counts by its name, once, and answers with what its
    header RETURNS. Times in ms; flags are 0 or 1."""

    @overload
    def __call__(self, script: Literal["requeue"], items: Sequence[RequeueItem]) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["cancel"], items: Sequence[CancelItem]) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["delete"], items: Sequence[DeleteItem]) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self,
        script: Literal["claim"],
        items: Sequence[KnownItem],
        *,
        consumer: str,
        limit: int,
        poll: int,
        suspects_max: int,
        alone: int,
        lost: int,
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["renew"], items: Sequence[RenewItem], *, consumer: str) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self,
        script: Literal["recover"],
        items: Sequence[HeldItem],
        *,
        consumer: str,
        believed_ms: int,
        batch: int,
        cursor: str,
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["promote"], *, limit: int, heads: int) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["leave"], *, consumer: str) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self, script: Literal["audit_entries"], *, queue: str, start: bytes | str, page: int
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["audit_records"], items: Sequence[JobItem]) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self,
        script: Literal["audit_organizations"],
        items: Sequence[CountedItem],
        *,
        after_line: bytes,
        after_suspect: bytes,
        after_isolated: bytes,
        looks_max: int,
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self, script: Literal["audit_budgets"], *, organization: bytes, token: bytes, confirmed: bytes, reserved: bytes
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self, script: Literal["count_reserved"], items: Sequence[ReservedItem], *, organization: bytes
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self, script: Literal["count_entries"], *, organization: bytes, queue: str, ids: bytes, looks_max: int
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self, script: Literal["count_throttled"], *, organization: bytes, queue: bytes, start: int, page: int
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self,
        script: Literal["correct_counts"],
        *,
        organization: bytes,
        token: bytes,
        confirmed: bytes,
        waiting: int,
        running: int,
        placed: int,
        suspects: int,
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["watch_budgets"], *, trail_length: int) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["organization"], *, organization: str) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["throttled"], items: Sequence[QueueItem]) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["workers"]) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["waiting"], *, job: str) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self, script: Literal["list"], items: Sequence[JobItem], *, status: str, bytes_max: int, outcome_max: int
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self, script: Literal["usage"], items: Sequence[DayItem], *, organization: str, fields_max: int
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["stats", "oldest"]) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["durations"], *, first_hour: int, last_hour: int) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["note_calls"], items: Sequence[CallsItem]) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["vet"], *, calls: bytes) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["failover"], *, term: str) -> Awaitable[Any]: ...

    def __call__(self, script: str, items: Sequence[Item] = (), **argv: Value) -> Awaitable[Any]: ...
