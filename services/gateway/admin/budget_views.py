"""Budgets of organisations and of their projects: as callers see them, and as they are stored."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from services.gateway.submit.schemas import Identifier
from shared.job import NANO
from shared.store.organizations import OrganizationSettings, ProjectBudget, ProjectSpending

USD_MAX: Final = 1_000_000
PROJECTS_MAX: Final = 100
"""Projects of one organisation that may have budgets; `project_numbers.lua` counts them."""

Usd = Annotated[float, Meta(ge=0, le=USD_MAX)] | None | UnsetType
_AMOUNTS: Final = {"month_usd": "month_nano_usd", "day_usd": "day_nano_usd"}


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """A change: a field that is left out stays as it is; null is the fleet's default again."""


class ProjectBudgetChange(Change, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """USD a month and a day of one project, in UTC; 0: nothing may be spent, null: any amount."""

    month_usd: Usd = UNSET
    day_usd: Usd = UNSET


class BudgetChange(Change, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """USD a month and a day, in UTC; 0: nothing may be spent, null: any amount. `projects`: budgets of single projects
    by id, beside the organization's own; null takes one away."""

    month_usd: Usd = UNSET
    day_usd: Usd = UNSET
    projects: Annotated[dict[Identifier, ProjectBudgetChange | None], Meta(max_length=PROJECTS_MAX)] | UnsetType = UNSET


class ProjectBudgetView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """USD a month and a day of one project, in UTC; null: any amount."""

    month_usd: float | None
    day_usd: float | None


class BudgetView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """USD a month and a day, in UTC; null: any amount. `projects`: of the projects that have budgets, by id."""

    month_usd: float | None
    day_usd: float | None
    projects: dict[str, ProjectBudgetView]


class ProjectSpendingView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Costs of a project's jobs this month and today, and the most that those that run may cost, in USD."""

    spent_month_usd: float
    spent_day_usd: float
    reserved_usd: float


def _amounts(change: BudgetChange | ProjectBudgetChange, behind: str = "") -> dict[str, int | None]:
    given = ((name, getattr(change, name)) for name in _AMOUNTS)
    return {
        _AMOUNTS[name] + behind: None if value is None else round(value * NANO)
        for name, value in given
        if value is not UNSET
    }


def stored_budget(change: BudgetChange) -> dict[str, int | None]:
    """The fields that change, as `Organizations.change` takes them."""
    found = _amounts(change)
    for project, wanted in ({} if change.projects is UNSET else change.projects).items():
        found |= _amounts(wanted or ProjectBudgetChange(month_usd=None, day_usd=None), f"@{project}")
    return found


def usd(nano: int | None) -> float | None:
    """USD of an amount in nano-USD; None stays None."""
    return None if nano is None else nano / NANO


def _view_project(budget: ProjectBudget) -> ProjectBudgetView:
    return ProjectBudgetView(month_usd=usd(budget.month_nano_usd), day_usd=usd(budget.day_nano_usd))


def view_budget(settings: OrganizationSettings) -> BudgetView:
    """The budgets of an organisation as callers see them."""
    return BudgetView(
        month_usd=usd(settings.month_nano_usd),
        day_usd=usd(settings.day_nano_usd),
        projects={project: _view_project(budget) for project, budget in settings.projects.items()},
    )


def view_spending(spent: ProjectSpending) -> ProjectSpendingView:
    """The spending of a project as callers see it."""
    return ProjectSpendingView(
        spent_month_usd=spent.spent_month / NANO,
        spent_day_usd=spent.spent_day / NANO,
        reserved_usd=spent.reserved / NANO,
    )
