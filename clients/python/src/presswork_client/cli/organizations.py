"""`presswork organizations`: settings of organisations, their limits and budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import quote

from cyclopts import App, Parameter

from presswork_client.cli.caller import ANYBODY, Caller
from presswork_client.cli.exits import OK, WrongArgument
from presswork_client.cli.operators import Flag, admin, change_of, listed
from presswork_client.client import Presswork

SHOWN: Final = ("id", "weight", "paused", "queued", "running", "spentMonthUsd", "monthUsd", "spentDayUsd", "dayUsd")
NONE: Final = "none"
"""Value of an option that takes a limit, or a budget, away: the fleet's default holds again."""

_LEFT_OUT: Final = object()


def add_to(app: App) -> None:
    """Add the command."""
    app.command(organizations)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Changes:
    """Options that change an organisation."""

    pause: Annotated[Flag, Parameter(help="Let it submit and start nothing.")] = False
    resume: Annotated[Flag, Parameter(help="End its pause.")] = False
    weight: Annotated[int | None, Parameter(help="Its weight in the fair shares, 1 to 16.")] = None
    slot_share: Annotated[
        int | None, Parameter(help="Its part of the slots while others wait, in percent; 0: no bound.")
    ] = None
    month_usd: Annotated[str | None, Parameter(help="Its budget of a month; none: any amount.")] = None
    day_usd: Annotated[str | None, Parameter(help="Its budget of a day; none: any amount.")] = None
    project_month_usd: Annotated[
        list[str] | None, Parameter(help="The budget of a month of one project, as project=USD; none: any amount.")
    ] = None
    project_day_usd: Annotated[
        list[str] | None, Parameter(help="The budget of a day of one project, as project=USD; none: any amount.")
    ] = None
    limit: Annotated[
        list[str] | None,
        Parameter(help="A limit as name=value, such as submitsPerMinute=60; 0: none, none: the fleet's default."),
    ] = None

    def body(self) -> dict[str, Any]:
        """The body of the change: what was given. WrongArgument."""
        paused = change_of(pause=self.pause, resume=self.resume)
        settings = {"weight": self.weight, "slotShare": self.slot_share, "paused": paused}
        given = {name: value for name, value in settings.items() if value is not None}

        parts = {"budget": self._budget(), "limits": _limits(self.limit or [])}
        return given | {name: part for name, part in parts.items() if part}

    def _budget(self) -> dict[str, Any]:
        amounts = {"monthUsd": _amount("--month-usd", self.month_usd), "dayUsd": _amount("--day-usd", self.day_usd)}
        budget = {name: value for name, value in amounts.items() if value is not _LEFT_OUT}
        projects = _projects({"monthUsd": self.project_month_usd or [], "dayUsd": self.project_day_usd or []})
        return budget | ({"projects": projects} if projects else {})


NO_CHANGES: Final = Changes()


def organizations(
    organization_id: str | None = None, /, *, changes: Changes = NO_CHANGES, caller: Caller = ANYBODY
) -> int:
    """Show the organizations, or one with its limits and budget; change one.

    Parameters
    ----------
    organization_id
        The one to show or change.
    """
    body = changes.body()
    if body and organization_id is None:
        raise WrongArgument("name the organization to change")

    with caller.client() as client:
        if organization_id is None:
            rows = _all(client)
            caller.output.table(SHOWN, rows if caller.json else [_flat(row) for row in rows])
        elif body:
            caller.output.record(admin(client, "PATCH", _path(organization_id), body=body))
        else:
            caller.output.record(admin(client, "GET", _path(organization_id)))
    return OK


def _path(organization_id: str) -> str:
    return f"organizations/{quote(organization_id, safe='')}"


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
