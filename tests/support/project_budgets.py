"""A project with a budget, for tests: what it may spend, what it has spent, and the time that passes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.job import Claim
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.organizations import ProjectSpending
from tests.support.budgets import CALL, priced
from tests.support.checks import RawRedis
from tests.support.gates import A, B
from tests.support.store import KEYS, settle

BUDGET = KEYS.prefix("budget") + "org"


async def allow(store: JobStore, project: str, calls: float | None, period: str = "day") -> None:
    """Settle what a project may spend, in calls at gate A."""
    await settle(store, "org", **{f"{period}_nano_usd@{project}": None if calls is None else round(calls * CALL)})


async def spending(store: JobStore, project: str = "p") -> ProjectSpending:
    """The sums of a project, as operators see them."""
    return (await store.organizations.stats("org")).projects[project]


def spent(nano: int, reserved: int) -> ProjectSpending:
    """The same amount this month and today."""
    return ProjectSpending(spent_month=nano, spent_day=nano, reserved=reserved)


def projects_of(held: list[Claim]) -> list[str]:
    """The projects of these jobs, in alphabetical order."""
    return sorted(one.spec.project_id for one in held)


async def check_projects(store: JobStore, raw: RawRedis) -> None:
    """Let a minute pass: projects that wait are checked."""
    held = KEYS.fixed("held_organizations")
    for member in await raw("ZRANGE", held, 0, -1):
        await raw("ZADD", held, 1, member)
    await store.maintenance.promote()


@asynccontextmanager
async def project_store(url: str) -> AsyncIterator[JobStore]:
    """A worker with two priced gates, and an organisation whose project `p` may spend three calls of the first."""
    settings = StoreSettings(redis_url=url, lease_seconds=2.0)
    async with open_store(settings, client_name="t", routing=priced(A, B)) as opened:
        await allow(opened, "p", 3)
        yield opened
