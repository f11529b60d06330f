"""From JSON to the values of `models`. Lenient: a later release may add members, and words of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import date, datetime
from typing import Any, Final, TypeVar

from presswork_client.errors import UnexpectedAnswer
from presswork_client.models import (
    UNREADABLE,
    JobError,
    JobView,
    Json,
    PassedOver,
    Usage,
    UsageReport,
    UsageRow,
    UsageSums,
    Waiting,
)

_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")
_TIMES: Final = ("created_at", "deadline_at", "started_at", "ended_at", "next_attempt_at")

ValueT = TypeVar("ValueT")


def snake(name: str) -> str:
    """The name of a member in Python: `jobId` to `job_id`."""
    return _CAPITAL.sub(r"_\1", name).lower()


def view_of(found: Json) -> JobView:
    """A job, from an answer, a row of a listing, or the last event of a stream. UnexpectedAnswer for anything else."""
    if not isinstance(found.get("jobId"), str):
        raise UnexpectedAnswer("the answer is about no job: is this a Presswork gateway?")
    known = _members(JobView, found)
    known["status"] = str(found.get("status") or UNREADABLE)
    known["text"] = found.get("result")
    known["error"] = _value(JobError, found.get("error"))
    known["usage"] = _value(Usage, found.get("usage"))
    known["waiting"] = _waiting(found.get("waiting"))
    known["passed_over"] = tuple(_made(PassedOver, one) for one in found.get("passedOver") or ())
    known |= {name: time_of(known[name]) for name in _TIMES if name in known}
    return JobView(**known | {"raw": found})


def time_of(text: Any) -> datetime | None:
    """A time with its zone; None for none, or one that cannot be read."""
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def report_of(pages: list[dict[str, Any]]) -> UsageReport:
    """The pages of one report, in order: the first has the sums of all days."""
    first = pages[0]
    rows = [row for page in pages for row in _rows(page)]
    return UsageReport(
        organization_id=str(first["organizationId"]),
        first=date.fromisoformat(first["from"]),
        last=date.fromisoformat(first["to"]),
        totals=_made(UsageSums, first["totals"]),
        rows=tuple(rows),
    )


def _rows(page: Json) -> Iterator[UsageRow]:
    for day in page["days"]:
        for project in day["projects"]:
            for model in project["models"]:
                yield UsageRow(
                    date=date.fromisoformat(day["date"]),
                    project_id=project["projectId"],
                    provider=model["provider"],
                    model=model["model"],
                    sums=_made(UsageSums, model),
                )


def _members(kind: type[Any], found: Json) -> dict[str, Any]:
    names = {one.name for one in fields(kind)}
    return {snake(name): value for name, value in found.items() if snake(name) in names}


def _made(kind: type[ValueT], found: Json) -> ValueT:
    return kind(**_members(kind, found))


def _value(kind: type[ValueT], found: Json | None) -> ValueT | None:
    return None if found is None else _made(kind, found)


def _waiting(found: Json | None) -> Waiting | None:
    if found is None or "reason" not in found:
        return None
    members = _members(Waiting, found)
    return Waiting(**members | {"until": time_of(found.get("until"))})
