"""The organisations of a chaos run: weights, budgets, limits, retentions, and keys that are revoked while it runs."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.http.auth import Scope
from shared.job import JobStatus
from shared.settings import StoreSettings
from shared.store.job_store import open_store
from tests.support.budgets import Sums, sums_of, true_sums
from tests.support.callers import KEYS, bearer
from tests.support.checks import RawRedis
from tests.support.front_end import FrontEnd

BUDGETED: Final = "org-1"
PROJECT: Final = "project-3"
"""One of the organisation's seven projects, with a budget of its own."""

SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "org-0": {"weight": 1, "retention": {"promptSeconds": 0}},
    BUDGETED: {"weight": 4, "retention": {"promptSeconds": 0}},
    "org-2": {"weight": 2, "limits": {"runningJobs": 30, "tokensPerMinute": 2_000_000}},
}
"""By organisation. Jobs of the last may all end in time, but wait for their organisation's own limits now and then."""

MARGIN_USD: Final = 0.005
"""Room of the budget beyond what is spent: a few calls at once, so that others are held."""

KEPT: Final = ("settings", "key", "org_keys")
"""Keys that stay when all jobs have ended."""

_REVOKED: Final = (401, 429)
"""Answers to a key that was revoked: the second one to a caller that was refused too often."""


class Tenants:
    """Organisations on a running system. `front`: calls of an operator; `revoked` counts the keys that were taken."""

    def __init__(self, front: FrontEnd, chance: random.Random) -> None:
        self._front = front
        self._chance = chance
        self._present: dict[str, tuple[str, str]] = {}
        self._past: list[str] = []

    @property
    def revoked(self) -> int:
        """Number of keys that were taken."""
        return len(self._past)

    async def prepare(self) -> None:
        """Make settings and keys."""
        for name, settings in SETTINGS.items():
            await self._front.call("PATCH", _path(name), (200,), json=settings)
            self._present[name] = await self._new_key(name)
        await self._raise_budget()

    def caller(self, name: str) -> dict[str, str]:
        """The headers of a customer of this organisation, with the key that holds now."""
        return bearer(self._present[name][1])

    async def replace_keys(self) -> None:
        """Revoke keys at random until cancelled, one every two seconds."""
        while True:
            await asyncio.sleep(self._chance.uniform(1.0, 3.0))
            await self.replace_key()

    async def replace_key(self) -> None:
        """Revoke the key of one organisation, whose customers get the next one before."""
        name = self._chance.choice(list(SETTINGS))
        old_id, old = self._present[name]
        self._present[name] = await self._new_key(name)
        await self._front.call("DELETE", f"{KEYS}/{old_id}", (204,))
        self._past.append(old)

    async def raise_budgets(self) -> None:
        """Allow a little more than is spent, again and again, until cancelled: jobs wait for it and go on."""
        while True:
            await asyncio.sleep(self._chance.uniform(0.5, 1.5))
            await self._raise_budget()

    async def _raise_budget(self) -> None:
        usage = (await self._front.call("GET", _path(BUDGETED), (200,))).json()["usage"]
        allowed = (usage["spentMonthUsd"] or 0) + MARGIN_USD
        project = usage["projects"].get(PROJECT, {"spentMonthUsd": 0})["spentMonthUsd"] + MARGIN_USD / 2
        change = {"budget": {"monthUsd": allowed, "dayUsd": allowed, "projects": {PROJECT: {"monthUsd": project}}}}
        await self._front.call("PATCH", _path(BUDGETED), (200,), json=change)

    async def _new_key(self, name: str) -> tuple[str, str]:
        content = {"organizationId": name, "scopes": [Scope.JOBS_WRITE, Scope.JOBS_READ]}
        made = (await self._front.call("POST", KEYS, (201,), json=content)).json()
        return made["id"], made["key"]

    async def problems(self, url: str, ids: Sequence[str], ends: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Revoked keys that open, wrong counts of an organisation, and a budget that is not exact: [] is right."""
        counted = await self._open_keys() + await _miscounted(url, ends)
        return counted + await _inexact(url, ids) + await _reserved(url)

    async def _open_keys(self) -> list[str]:
        found = []
        for key in self._past:
            asked = {"jobId": "ai-job-1737465123456-0bc123def"}
            answer = await self._front.call(
                "GET", "/api/ai/job-status", (200, 404, *_REVOKED), params=asked, headers=bearer(key)
            )
            if answer.status_code not in _REVOKED:
                found.append(f"a revoked key is answered {answer.status_code}")
        return found


def _path(name: str) -> str:
    return f"/api/admin/organizations/{name}"


async def _miscounted(url: str, ends: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Organisations whose own counts differ from the ends of their jobs (I3)."""
    found = []
    async with open_store(StoreSettings(redis_url=url), client_name="check") as store:
        for name in SETTINGS:
            stats = await store.organizations.stats(name)
            counted = {str(status): getattr(stats, status) for status in JobStatus}
            outcomes = Counter(str(end["status"]) for end in ends.values() if end["organizationId"] == name)
            if counted != dict.fromkeys(counted, 0) | outcomes:
                found.append(f"{name} counts {counted}, its jobs say {dict(outcomes)}")
    return found


async def _inexact(url: str, ids: Sequence[str]) -> list[str]:
    """Differences between the kept sums of the budget and the costs of its jobs, once late reports are in."""
    async with RawRedis(url) as raw:
        for _ in range(100):
            true = await true_sums(raw, ids, BUDGETED)
            months = [sums for period, sums in (await sums_of(raw, BUDGETED)).items() if period.startswith("m")]
            kept = Sums(*(sum(part) for part in zip(*months, strict=True)))
            if kept == true and kept.reserved == 0:
                return [] if kept.spent > 0 else ["the budget was never used"]
            await asyncio.sleep(0.1)
    return [f"the budget keeps {kept}, the jobs say {true}"]


async def _reserved(url: str) -> list[str]:
    """A reservation of the project that no job of it has."""
    async with open_store(StoreSettings(redis_url=url), client_name="check") as store:
        spending = (await store.organizations.stats(BUDGETED)).projects[PROJECT]
    return [f"{PROJECT} keeps {spending}"] if spending.reserved or not spending.spent_month else []
