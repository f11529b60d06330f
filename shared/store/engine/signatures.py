"""Names and types of the values that each script takes, as mypy checks them: the stubs of the Lua sources.

ITEM of a header is a struct (`items.py`), ARGV are the keywords of an overload of `RunScript`; values that are the
same in every call (`calls.py`) are left out. `signature_check.py` compares both with the header when a store begins: a
name that is changed in one place alone is refused there.
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
    DiscardItem,
    HeldItem,
    Item,
    JobItem,
    KeyItem,
    KnownItem,
    QueueItem,
    RefusalsItem,
    RenewItem,
    RequeueItem,
    ReservedItem,
    Value,
)


class RunScript(Protocol):
    """Calls one script by its name, once, and answers what its header RETURNS. Times in ms; flags are 0 or 1."""

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
    def __call__(
        self, script: Literal["pause"], *, name: str, pause: int, organization: str, entry: bytes, trail_length: int
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self,
        script: Literal["limit_gate"],
        *,
        name: str,
        rpm: int | str,
        tpm: int | str,
        organization: str,
        entry: bytes,
        trail_length: int,
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["workers"]) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self,
        script: Literal["order_worker"],
        *,
        consumer: str,
        drain: int,
        organization: str,
        entry: bytes,
        trail_length: int,
    ) -> Awaitable[Any]: ...
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
    def __call__(
        self,
        script: Literal["create_key"],
        *,
        id: str,
        organization: str,
        record: bytes,
        expires: int,
        keys_max: int,
        kept: int,
        replaced: str,
        overlap: int,
        owner: str,
        entry: bytes,
        trail_length: int,
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self, script: Literal["revoke_key"], *, id: str, owner: str, kept: int, entry: bytes, trail_length: int
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self,
        script: Literal["create_task"],
        *,
        id: str,
        plan: bytes,
        count: int,
        kept: int,
        tasks_max: int,
        organization: str,
        entry: bytes,
        trail_length: int,
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["take_task"], *, holder: str, kept: int) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self,
        script: Literal["advance_task"],
        *,
        id: str,
        holder: str,
        position: str,
        over: int,
        receipt: bytes,
        plan: bytes,
        entry: bytes,
        prompts_gone: int,
        kept: int,
        trail_length: int,
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["erase_keys"], items: Sequence[KeyItem], *, task: str) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self,
        script: Literal["erase_organization"],
        *,
        organization: str,
        digest: str,
        task: str,
        index: str,
        start: str,
        page: int,
        last: int,
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["discard"], items: Sequence[DiscardItem]) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self, script: Literal["note_refusals"], items: Sequence[RefusalsItem], *, trail_length: int
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["note_calls"], items: Sequence[CallsItem]) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["note_key_use"], *, id: str, day: str) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self,
        script: Literal["block_user"],
        *,
        organization: str,
        user: str,
        blocked: int,
        users_max: int,
        entry: bytes,
        trail_length: int,
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(
        self,
        script: Literal["change_organization"],
        *,
        organization: str,
        given: bytes,
        gone: bytes,
        entry: bytes,
        trail_length: int,
    ) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["vet"], *, calls: bytes) -> Awaitable[Any]: ...
    @overload
    def __call__(self, script: Literal["failover"], *, term: str) -> Awaitable[Any]: ...

    def __call__(self, script: str, items: Sequence[Item] = (), **argv: Value) -> Awaitable[Any]: ...
