"""Single organisations: settings that operators make, and counts. There are those that have keys or settings.

`settings:<org>` holds a field for each setting that differs from the fleet's default, by the names of
`OrganizationSettings`, as whole numbers. `change_organization.lua` keeps the engine's part of it as `policies` too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from shared.errors import TooManyBlocked, TooManyProjectBudgets
from shared.store.audit_trail import TRAIL_LENGTH, Actor, entry
from shared.store.engine.calls import Reads, ScriptCalls
from shared.store.keys import Keys, decode_id, encode_id

BLOCKED_MAX: Final = 1000
"""Blocked users of one organisation."""

_encode: Final = msgspec.json.Encoder().encode


class ProjectBudget(msgspec.Struct, frozen=True, kw_only=True):
    """Of one project, in nano-USD a month and a day, UTC. None: none."""

    month_nano_usd: int | None = None
    day_nano_usd: int | None = None


class ProjectSpending(msgspec.Struct, frozen=True, kw_only=True):
    """Of a project's budget in the present periods, in nano-USD, as `OrganizationStats` has it."""

    spent_month: int
    spent_day: int
    reserved: int


class OrganizationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Of one organisation. None: the fleet's default; a limit of 0: none.

    `weight`: its part of the starts beside others (1 to 16). `slot_share`: % of the running jobs above which it starts
    none while others may. `submits_per_minute`, `queued_jobs`, `queued_bytes`, `delayed_jobs`, `running_jobs`,
    `tokens_per_minute` (at each gate), `streams`: a minute or at once. `month_nano_usd`, `day_nano_usd`: budgets in
    nano-USD, UTC; None: none. `paused`: 1: none of its jobs starts or is taken. `prompt_seconds`, `result_seconds`,
    `failed_seconds`, `events_seconds`: how long after a job's end its prompt, its record (that of a failed job), and
    its event log are kept; `usage_days`: of usage, after their end. `projects`: budgets of single projects; a
    change names one as `month_nano_usd@<project>`.
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
    paused: int | None = None
    prompt_seconds: int | None = None
    result_seconds: int | None = None
    failed_seconds: int | None = None
    events_seconds: int | None = None
    usage_days: int | None = None
    projects: dict[str, ProjectBudget] = {}


class OrganizationStats(msgspec.Struct, frozen=True, kw_only=True):
    """Exact counts of one organisation's jobs at one moment (I3); ends count for as long as its sums are kept.

    Of its budget, in nano-USD: `spent_month`, `spent_day` in the present periods, `reserved` by jobs that run; 0
    without one. `projects`: of those that have budgets.
    """

    queued: int
    processing: int
    completed: int
    failed: int
    cancelled: int
    delayed: int
    queued_bytes: int
    spent_month: int = 0
    spent_day: int = 0
    reserved: int = 0
    projects: dict[str, ProjectSpending] = {}


class Organizations:
    """Of one store. Every method may raise StoreUnavailable."""

    def __init__(self, calls: ScriptCalls, reads: Reads, keys: Keys) -> None:
        self._calls = calls
        self._reads = reads
        self._keys = keys

    async def read(self, organization_id: str) -> OrganizationSettings:
        """The settings of an organisation."""
        return _parse(await self._reads.execute("HGETALL", self._keys.settings(organization_id)))

    async def change(
        self, organization_id: str, changes: Mapping[str, int | None], actor: Actor
    ) -> OrganizationSettings:
        """Change these fields; None: the fleet's default again. Answers the whole.

        An organisation that may run now is let in; running jobs go on. TooManyProjectBudgets.
        """
        given = [part for name, value in changes.items() if value is not None for part in (name, str(value))]
        gone = [name for name, value in changes.items() if value is None]
        flat = await self._calls.administer(
            "change_organization", organization=encode_id(organization_id), given=_encode(given), gone=_encode(gone),
            entry=entry("organization.changed", actor, changes=dict(changes)), trail_length=TRAIL_LENGTH,
        )  # fmt: skip
        if flat == b"FULL":
            raise TooManyProjectBudgets(organization_id)
        return _parse(flat)

    async def streams(self, organization_id: str) -> int | None:
        """Its limit of open streams alone."""
        (value,) = await self._reads.execute("HMGET", self._keys.settings(organization_id), "streams")
        return int(value) if value is not None and value.isdigit() else None

    async def block(self, organization_id: str, user_id: str, actor: Actor, *, blocked: bool = True) -> None:
        """Refuse the submits of a user from now on; `blocked` False: no longer. TooManyBlocked."""
        action = "user.blocked" if blocked else "user.unblocked"
        code = await self._calls.administer(
            "block_user", organization=encode_id(organization_id), user=user_id, blocked=int(blocked),
            users_max=BLOCKED_MAX, entry=entry(action, actor, userId=user_id), trail_length=TRAIL_LENGTH,
        )  # fmt: skip
        if code == b"FULL":
            raise TooManyBlocked(organization_id)

    async def blocked_users(self, organization_id: str) -> list[str]:
        """Ids of the users whose submits are refused, in alphabetical order."""
        members = await self._reads.execute("SMEMBERS", self._keys.blocked_users(organization_id))
        return sorted(member.decode() for member in members)

    async def known(self) -> list[str]:
        """The ids of all organisations that have keys or settings, in alphabetical order."""
        members = await self._reads.execute("SMEMBERS", self._keys.fixed("tenants"))
        return sorted(decode_id(member.decode()) for member in members)

    async def stats(self, organization_id: str) -> OrganizationStats:
        """Count the jobs of this organisation."""
        reply = await self._calls.run("organization", organization=encode_id(organization_id))
        queued, processing, completed, failed, cancelled, delayed, kib, *budget = (int(number) for number in reply[:10])
        return OrganizationStats(
            queued=queued, processing=processing, completed=completed, failed=failed, cancelled=cancelled,
            delayed=delayed, queued_bytes=kib * 1024,
            spent_month=budget[0], spent_day=budget[1], reserved=budget[2],
            projects=dict(sorted(_spending(row) for row in reply[10:])),
        )  # fmt: skip

    async def overview(self, organization_id: str) -> tuple[OrganizationSettings, OrganizationStats]:
        """Settings and counts of one."""
        return await asyncio.gather(self.read(organization_id), self.stats(organization_id))


def _spending(row: list[Any]) -> tuple[str, ProjectSpending]:
    project, month, day, reserved = row
    return project.decode(), ProjectSpending(spent_month=int(month), spent_day=int(day), reserved=int(reserved))


def _projects(flat: list[bytes]) -> dict[str, ProjectBudget]:
    found: dict[str, dict[str, int]] = {}
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        field, _, project = name.decode(errors="replace").partition("@")
        if project and field in ProjectBudget.__struct_fields__ and value.isdigit():
            found.setdefault(project, {})[field] = int(value)
    return {project: ProjectBudget(**found[project]) for project in sorted(found)}


def _parse(flat: list[bytes]) -> OrganizationSettings:
    """A field of a newer release, or one that is no number, counts as not set."""
    known = set(OrganizationSettings.__struct_fields__) - {"projects"}
    found: dict[str, Any] = {
        name.decode(): int(value)
        for name, value in zip(flat[::2], flat[1::2], strict=True)
        if name.decode(errors="replace") in known and value.isdigit()
    }
    return OrganizationSettings(**found, projects=_projects(flat))
