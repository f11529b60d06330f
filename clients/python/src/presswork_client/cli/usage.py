"""`presswork usage`: tokens and cost by day, project and model; also as CSV."""

from __future__ import annotations

import csv
import sys
from datetime import date
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from presswork_client.cli.caller import ANYBODY, Caller
from presswork_client.cli.exits import OK, WrongArgument
from presswork_client.cli.output import note, usd
from presswork_client.models import UsageReport, UsageSums

COLUMNS: Final = (
    "date", "projectId", "provider", "model", "jobs", "inputTokens", "outputTokens", "cachedTokens", "costUsd",
    "unknownCostJobs", "estimatedJobs",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of cells that a spreadsheet would calculate."""


def add_to(app: App) -> None:
    """Add the command."""
    app.command(usage)


def usage(
    *,
    first: Annotated[str | None, Parameter(name="--from")] = None,
    last: Annotated[str | None, Parameter(name="--to")] = None,
    as_csv: Annotated[bool, Parameter(name="--csv", negative="")] = False,
    caller: Caller = ANYBODY,
) -> int:
    """Show tokens and cost of ended jobs by day (UTC), project and model.

    Parameters
    ----------
    first
        First day, YYYY-MM-DD; left out: the first of this month.
    last
        Last day; left out: the last of this month.
    as_csv
        Write CSV (RFC 4180).
    """
    days = _day(first, "--from"), _day(last, "--to")
    with caller.client() as client:
        report = client.usage(*days)

    rows = [_row(row.date, row.project_id, row.provider, row.model, row.sums) for row in report.rows]
    if as_csv:
        _write_csv(rows)
    elif caller.json:
        caller.output.record(_document(report, rows))
    else:
        caller.output.table(COLUMNS, rows)
        totals, unknown = report.totals, report.totals.unknown_cost_jobs
        lacking = f" (the cost of {unknown} is not known)" if unknown else ""
        note(f"{totals.jobs} jobs from {report.first} to {report.last}: ${usd(totals.cost_usd) or '?'}{lacking}")
    return OK


def _day(text: str | None, option: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise WrongArgument(f"{option} {text}: expected a day, as in 2026-11-29") from None


def _row(day: date, project: str, provider: str, model: str, sums: UsageSums) -> dict[str, Any]:
    return {"date": day, "projectId": project, "provider": provider, "model": model, **_sums(sums)}


def _sums(sums: UsageSums) -> dict[str, Any]:
    return {
        "jobs": sums.jobs, "inputTokens": sums.input_tokens, "outputTokens": sums.output_tokens,
        "cachedTokens": sums.cached_tokens, "costUsd": sums.cost_usd, "unknownCostJobs": sums.unknown_cost_jobs,
        "estimatedJobs": sums.estimated_jobs,
    }  # fmt: skip


def _document(report: UsageReport, rows: list[dict[str, Any]]) -> dict[str, Any]:
    named = {"organizationId": report.organization_id, "from": report.first, "to": report.last}
    return named | {"totals": _sums(report.totals), "rows": rows}


def _write_csv(rows: list[dict[str, Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row[column]) for column in COLUMNS])


def _cell(value: Any) -> str:
    if value is None or isinstance(value, float):
        return usd(value)
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
