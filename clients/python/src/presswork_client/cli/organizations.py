"""`presswork organizations`: settings of organisations, their limits and budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from cyclopts import App

from presswork_client.cli.caller import ANYBODY, Caller
from presswork_client.cli.exits import OK, WrongArgument
from presswork_client.cli.operators import Flag, admin, change_of, listed
from presswork_client.client import Presswork

SHOWN: Final = ("id", "weight", "paused", "queued", "running", "spentMonthUsd", "monthUsd", "spentDayUsd", "dayUsd")
NONE: Final = "none"
"""Value of an option that takes a limit, or a budget, away: the fleet's default holds again."""


def add_to(app: App) -> None:
    """Add the command."""
    app.command(organizations)


def organizations(
    organization_id: str | None = None,
    /,
    *,
    pause: Flag = False,
    resume: Flag = False,
    weight: int | None = None,
    slot_share: int | None = None,
    month_usd: str | None = None,
    day_usd: str | None = None,
    project_month_usd: list[str] | None = None,
    project_day_usd: list[str] | None = None,
    limit: list[str] | None = None,
    caller: Caller = ANYBODY,
) -> int:
    """Show the organizations, or one with its limits and budget; change one.

    Parameters
    ----------
    organization_id
        The one to show or change.
    pause
        Let it submit and start nothing.
    resume
        End its pause.
    weight
        Its weight in the fair shares, 1 to 16.
    slot_share
        Its part of the slots while others wait, in percent; 0: no bound.
    month_usd
        Its budget of a month; none: any amount.
    day_usd
        Its budget of a day; none: any amount.
    project_month_usd
        The budget of a month of one project, as project=USD; none: any amount.
    project_day_usd
        The budget of a day of one project, as project=USD; none: any amount.
    limit
        A limit as name=value, such as submitsPerMinute=60; 0: none, none: the fleet's default.
    """
    budget = {"monthUsd": _amount("--month-usd", month_usd), "dayUsd": _amount("--day-usd", day_usd)}
    projects = _projects({"monthUsd": project_month_usd or [], "dayUsd": project_day_usd or []})
    budget |= {"projects": projects or _LEFT_OUT}
    settings = {"weight": weight, "slotShare": slot_share, "paused": change_of(pause=pause, resume=resume)}
    changes = _changes(settings, budget, _limits(limit or []))
    if changes and organization_id is None:
        raise WrongArgument("name the organization to change")

    with caller.client() as client:
        if organization_id is None:
            rows = _all(client)
            caller.output.table(SHOWN, rows if caller.json else [_flat(row) for row in rows])
        else:
            path = f"organizations/{quote(organization_id, safe='')}"
            method, body = ("PATCH", changes) if changes else ("GET", None)
            caller.output.record(admin(client, method, path, body=body))
    return OK


_LEFT_OUT: Final = object()


def _changes(
    settings: Mapping[str, Any], budget: Mapping[str, Any], limits: Mapping[str, int | None]
) -> dict[str, Any]:
    """The body of a change: what was given."""
    changes = {name: value for name, value in settings.items() if value is not None}
    parts = {"budget": {name: value for name, value in budget.items() if value is not _LEFT_OUT}, "limits": limits}
    return changes | {name: part for name, part in parts.items() if part}


def _amount(option: str, text: str | None) -> Any:
    if text is None:
        return _LEFT_OUT
    try:
        return None if text == NONE else float(text)
    except ValueError:
        raise WrongArgument(f"{option} {text}: expected USD, as in 250, or {NONE}") from None


def _projects(given: Mapping[str, list[str]]) -> dict[str, dict[str, Any]]:
    """Budgets by project, as they were given for a month and a day."""
    found: dict[str, dict[str, Any]] = {}
    for name, budgets in given.items():
        option = f"--project-{name.removesuffix('Usd')}-usd"
        for one in budgets:
            project, equals, value = one.rpartition("=")
            if not (project and equals):
                raise WrongArgument(f"{option} {one}: expected project=USD, as in search=20, or search={NONE}")
            found.setdefault(project, {})[name] = _amount(option, value)
    return found


def _limits(given: list[str]) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not (value == NONE or value.isdecimal()):
            raise WrongArgument(f"--limit {one}: expected name=number, as in --limit submitsPerMinute=60, or {NONE}")
        found[name] = None if value == NONE else int(value)
    return found


def _all(client: Presswork) -> list[dict[str, Any]]:
    """All organisations, of every page."""
    found: list[dict[str, Any]] = []
    params: dict[str, Any] = {}
    while True:
        page = admin(client, "GET", "organizations", params=params)
        found += listed(page, "organizations")
        if not page.get("cursor"):
            return found
        params["cursor"] = page["cursor"]


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """An organisation as a row of a table."""
    return {**row, **(row.get("usage") or {}), **(row.get("budget") or {})}
