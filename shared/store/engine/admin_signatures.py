"""Names and types of the values that the scripts of administration take, as `signatures.py` has them for the others."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Literal, Protocol, overload

from shared.store.engine.items import DiscardItem, Item, KeyItem, RefusalsItem, Value


class RunAdminScript(Protocol):
    """Calls one script of organisations, API keys, gates, workers, or an operator's tasks, as `RunScript` does.

    `entry`: the line for the audit trail that the change leaves, which keeps `trail_length` of them.
    """

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
    def __call__(self, script: Literal["note_key_use"], *, id: str, day: str) -> Awaitable[Any]: ...
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
    def __call__(
        self, script: Literal["note_refusals"], items: Sequence[RefusalsItem], *, trail_length: int
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
    def __call__(self, script: Literal["discard"], items: Sequence[DiscardItem]) -> Awaitable[Any]: ...
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

    def __call__(self, script: str, items: Sequence[Item] = (), **argv: Value) -> Awaitable[Any]: ...
