"""Settings of single organisations, made by operators, and which organisations there are: those with keys or settings.

`settings:<org>` holds a field for each setting that differs from the fleet's default, by the names of `TenantSettings`,
as whole numbers; amounts in nano-USD. The engine's part of it (weight, shares, caps, pause) has the same names there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from shared.store.audit_trail import TRAIL_LENGTH, Actor, entry
from shared.store.engine.calls import Reads, ScriptCalls
from shared.store.keys import Keys, decode_id, encode_id

_encode: Final = msgspec.json.Encoder().encode


class TenantSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Of one organisation. None: the fleet's default; a limit of 0: none.

    `weight`: its part of the starts beside others' (1 to 16). `slot_share`: % of what runs above which it starts
    nothing while others may. `submits_per_minute`, `queued_jobs`, `queued_bytes`, `delayed_jobs`, `running_jobs`,
    `streams`: at once or a minute; `tokens_per_minute`: of each gate. `month_nano_usd`, `day_nano_usd`: budgets.
    `prompt_seconds`, `result_seconds`, `events_seconds`, `usage_days`: how long each is kept. `paused`: 1: no job of it
    starts or is taken.
    """

    weight: int | None = None
    slot_share: int | None = None
    submits_per_minute: int | None = None
    queued_jobs: int | None = None
    queued_bytes: int | None = None
    delayed_jobs: int | None = None
    running_jobs: int | None = None
    tokens_per_minute: int | None = None
    streams: int | None = None
    month_nano_usd: int | None = None
    day_nano_usd: int | None = None
    prompt_seconds: int | None = None
    result_seconds: int | None = None
    events_seconds: int | None = None
    usage_days: int | None = None
    paused: int | None = None


class Tenants:
    """Of one store. Every method may raise StoreUnavailable."""

    def __init__(self, calls: ScriptCalls, reads: Reads, keys: Keys) -> None:
        self._calls = calls
        self._reads = reads
        self._keys = keys

    async def read(self, organization_id: str) -> TenantSettings:
        """The settings of an organisation."""
        return _parse(await self._reads.execute("HGETALL", self._keys.settings(organization_id)))

    async def change(self, organization_id: str, changes: Mapping[str, int | None], actor: Actor) -> TenantSettings:
        """Settle these fields; None: the fleet's default again. Answers the whole."""
        given = [part for name, value in changes.items() if value is not None for part in (name, str(value))]
        gone = [name for name, value in changes.items() if value is None]
        flat = await self._calls.run(
            "put_settings", organization=encode_id(organization_id), given=_encode(given), gone=_encode(gone),
            entry=entry("organization.changed", actor, changes=dict(changes)), trail_length=TRAIL_LENGTH,
        )  # fmt: skip
        return _parse(flat)

    async def known(self) -> list[str]:
        """The ids of all organisations that have keys or settings, in alphabetical order."""
        members = await self._reads.execute("SMEMBERS", self._keys.fixed("tenants"))
        return sorted(decode_id(member.decode()) for member in members)

    async def all(self) -> list[tuple[str, TenantSettings]]:
        """Each of them with its settings."""
        ids = await self.known()
        found = await asyncio.gather(*(self.read(organization_id) for organization_id in ids))
        return list(zip(ids, found, strict=True))


def _parse(flat: list[bytes]) -> TenantSettings:
    """A field of a newer release, or one that is no number, counts as not settled."""
    known = set(TenantSettings.__struct_fields__)
    found: dict[str, Any] = {
        name.decode(): int(value)
        for name, value in zip(flat[::2], flat[1::2], strict=True)
        if name.decode(errors="replace") in known and value.isdigit()
    }
    return TenantSettings(**found)
