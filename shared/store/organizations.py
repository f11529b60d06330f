"""Settings of single organisations, and the counts of each."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from shared.store.engine.calls import Reads, ScriptCalls
from shared.store.keys import Keys, encode_id

Bound = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] | None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Of one organisation. `weight`: its part of the starts beside others. A limit of None is the fleet's default, 0:
    none. `slot_share`: % of the running jobs above which it starts none while others may. `paused`: no job starts."""

    weight: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    running_jobs: Bound = None
    slot_share: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    queued_jobs: Bound = None
    queued_bytes: Bound = None
    delayed_jobs: Bound = None
    paused: bool = False


class OrganizationStats(msgspec.Struct, frozen=True, kw_only=True):
    """Exact counts of one organisation's jobs at one moment (I3); ends count for as long as its sums are kept."""

    queued: int
    processing: int
    completed: int
    failed: int
    cancelled: int
    delayed: int
    queued_bytes: int


STORED: Final = {
    "weight": "weight", "running_jobs": "running", "slot_share": "slot_share", "queued_jobs": "queued",
    "queued_bytes": "kib", "delayed_jobs": "delayed", "paused": "paused",
}  # fmt: skip
"""Field of a policy -> word in its text, as `lua/include/policies.lua` reads it. Bytes are kept as KiB."""


def policy_text(policy: Policy) -> str:
    """The words of a policy as Redis keeps them; empty when all are defaults."""
    words = []
    for field, name in STORED.items():
        value = getattr(policy, field)
        if value is not None and value != getattr(Policy(), field):
            words.append(f"{name}={-(-value // 1024) if name == 'kib' else int(value)}")
    return " ".join(words)


def parse_policy(text: str) -> Policy:
    """Read the words that `policy_text` wrote; others are ignored."""
    found = {name: int(value) for name, _, value in (word.partition("=") for word in text.split()) if value.isdigit()}
    values = {field: found[name] for field, name in STORED.items() if name in found}
    if "queued_bytes" in values:
        values["queued_bytes"] *= 1024
    return Policy(**{**values, "paused": bool(values.get("paused"))})  # type: ignore[arg-type]


class Organizations:
    """Of one store; every method may raise StoreUnavailable."""

    def __init__(self, calls: ScriptCalls, reads: Reads, keys: Keys) -> None:
        self._calls = calls
        self._reads = reads
        self._keys = keys

    async def policy(self, organization_id: str) -> Policy:
        """Read the settings of this organisation."""
        text = await self._reads.execute("HGET", self._keys.fixed("policies"), encode_id(organization_id))
        return parse_policy(text.decode(errors="replace") if text else "")

    async def change(self, organization_id: str, policy: Policy) -> None:
        """Change its settings. An organisation that may run now is let in; running jobs go on."""
        await self._calls.run("policy", organization=encode_id(organization_id), policy=policy_text(policy))

    async def stats(self, organization_id: str) -> OrganizationStats:
        """Count the jobs of this organisation."""
        reply = await self._calls.run("organization", organization=encode_id(organization_id))
        queued, processing, completed, failed, cancelled, delayed, kib = (int(number) for number in reply)
        return OrganizationStats(
            queued=queued, processing=processing, completed=completed, failed=failed, cancelled=cancelled,
            delayed=delayed, queued_bytes=kib * 1024,
        )  # fmt: skip
