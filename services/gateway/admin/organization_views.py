"""Bodies of the calls that administer organisations: as callers see them, and as they are stored."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from services.gateway.admin.budget_views import (
    BudgetChange,
    BudgetView,
    Change,
    ProjectSpendingView,
    stored_budget,
    usd,
    view_budget,
    view_spending,
)
from shared.store.organizations import OrganizationSettings, OrganizationStats

Count = Annotated[int, Meta(ge=0, le=1_000_000_000)] | None | UnsetType
Bytes = Annotated[int, Meta(ge=0, le=1 << 40)] | None | UnsetType
YEAR_S: Final = 31_536_000
DAYS_MAX: Final = 36_500
Seconds = Annotated[int, Meta(ge=1, le=YEAR_S)] | None | UnsetType


class LimitsChange(Change, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Limits; 0: none."""

    submits_per_minute: Count = UNSET
    queued_jobs: Count = UNSET
    queued_bytes: Bytes = UNSET
    delayed_jobs: Count = UNSET
    running_jobs: Count = UNSET
    tokens_per_minute: Count = UNSET
    streams: Count = UNSET


class RetentionChange(Change, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Seconds after a job's end for which its parts are kept; 0: the prompt goes with the end. Usage: days after
    their own end."""

    prompt_seconds: Annotated[int, Meta(ge=0, le=YEAR_S)] | UnsetType | None = UNSET
    result_seconds: Seconds = UNSET
    failed_seconds: Seconds = UNSET
    events_seconds: Seconds = UNSET
    usage_days: Annotated[int, Meta(ge=1, le=DAYS_MAX)] | UnsetType | None = UNSET


class OrganizationChange(Change, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Changes of an organisation's settings."""

    weight: Annotated[int, Meta(ge=1, le=16)] | UnsetType | None = UNSET
    slot_share: Annotated[int, Meta(ge=0, le=100)] | UnsetType | None = UNSET
    limits: LimitsChange | UnsetType = UNSET
    budget: BudgetChange | UnsetType = UNSET
    retention: RetentionChange | UnsetType = UNSET
    paused: bool | UnsetType = UNSET


class LimitsView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Limits; null: the fleet's default, 0: none."""

    submits_per_minute: int | None
    queued_jobs: int | None
    queued_bytes: int | None
    delayed_jobs: int | None
    running_jobs: int | None
    tokens_per_minute: int | None
    streams: int | None


class RetentionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Seconds after a job's end for which its parts are kept; usage: days. null: the fleet's default; a prompt: as long
    as its record."""

    prompt_seconds: int | None
    result_seconds: int | None
    failed_seconds: int | None
    events_seconds: int | None
    usage_days: int | None


class OrganizationUsage(msgspec.Struct, frozen=True, rename="camel"):
    """Jobs of the organisation that wait and that run, and bytes of what waits, in whole KiB a job.

    Of its budget, in USD: what its jobs cost this month and today, and what those that run may cost; null without one.
    `projects`: the same of the projects that have budgets, by id.
    """

    queued: int
    running: int
    queued_bytes: int
    spent_month_usd: float | None
    spent_day_usd: float | None
    reserved_usd: float | None
    projects: dict[str, ProjectSpendingView]


class OrganizationView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An organisation's settings, and its jobs. `slot_share` null: the fleet's default."""

    id: str
    weight: int
    slot_share: int | None
    limits: LimitsView
    budget: BudgetView
    retention: RetentionView
    paused: bool
    usage: OrganizationUsage


class OrganizationList(msgspec.Struct, frozen=True):
    """Organisations that have keys or settings, by id; `cursor` gives the next page, null: there is none."""

    organizations: list[OrganizationView]
    cursor: str | None


def stored_changes(change: OrganizationChange) -> dict[str, int | None]:
    """The fields that change, as `OrganizationSettings` names them."""
    found = {} if change.budget is UNSET else stored_budget(change.budget)
    for part in (change, change.limits, change.retention):
        for name in () if part is UNSET else part.__struct_fields__:
            value: Any = getattr(part, name)
            if value is UNSET or isinstance(value, msgspec.Struct):
                continue
            found[name] = (1 if value else None) if name == "paused" else value
    return found


def _usage(settings: OrganizationSettings, stats: OrganizationStats) -> OrganizationUsage:
    jobs = (stats.queued, stats.processing, stats.queued_bytes)
    projects = {project: view_spending(spent) for project, spent in stats.projects.items()}
    if settings.month_nano_usd is None and settings.day_nano_usd is None:
        return OrganizationUsage(*jobs, None, None, None, projects)
    return OrganizationUsage(*jobs, usd(stats.spent_month), usd(stats.spent_day), usd(stats.reserved), projects)


def view_organization(
    organization_id: str, settings: OrganizationSettings, stats: OrganizationStats
) -> OrganizationView:
    """Settings and counts as a caller sees them."""
    return OrganizationView(
        id=organization_id,
        weight=settings.weight or 1,
        slot_share=settings.slot_share,
        limits=LimitsView(**{name: getattr(settings, name) for name in LimitsView.__struct_fields__}),
        budget=view_budget(settings),
        retention=RetentionView(**{name: getattr(settings, name) for name in RetentionView.__struct_fields__}),
        paused=bool(settings.paused),
        usage=_usage(settings, stats),
    )
