"""Commands of operators: failures, gates, the queue and workers. An older gateway does not serve them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final
from urllib.parse import quote

from cyclopts import App, Parameter

from presswork_client.cli.caller import ANYBODY, Caller
from presswork_client.cli.exits import OK, WrongArgument
from presswork_client.cli.output import columns_of
from presswork_client.client import Presswork
from presswork_client.errors import NotFound, PressworkError

ADMIN: Final = "/api/admin"

Flag = Annotated[bool, Parameter(negative="")]
"""An option without a value, which has no opposite."""

EXAMPLES: Final = 3
FAILURES: Final = ("errorType", "provider", "organizationId", "count", "firstAt", "lastAt", "jobIds")
GATES: Final = ("gate", "state", "reason", "until", "waiting", "requestsPerMinute", "tokensPerMinute")
WORKERS: Final = ("name", "draining", "progress", "host", "release", "slots", "busy", "jobsHeld", "lastSeenAt")


class NotServed(PressworkError):
    """The gateway has no such call."""


def add_to(app: App) -> None:
    """Add the commands."""
    for command in (failures, gates, queue, workers):
        app.command(command)


def failures(
    *,
    group_by: str = "errorType,provider,organizationId",
    since: Annotated[str | None, Parameter(name="--from")] = None,
    caller: Caller = ANYBODY,
) -> int:
    """Show failed jobs in groups: how many, since when, and three examples of each.

    Parameters
    ----------
    group_by
        Members by which they are grouped, separated by commas.
    since
        Only failures from this time on (ISO 8601).
    """
    with caller.client() as client:
        rows = failure_groups(client, group_by, since, caller.organization)
    caller.output.table(columns_of(rows, FAILURES), [_joined(row) for row in rows] if not caller.json else rows)
    return OK


def gates(*, pause: list[str] | None = None, resume: list[str] | None = None, caller: Caller = ANYBODY) -> int:
    """Show the gates before providers and models; pause or resume some.

    Parameters
    ----------
    pause
        A gate (provider:model) through which no call is to go.
    resume
        A gate whose pause, or block, ends now.
    """
    with caller.client() as client:
        for gate, action in [(one, "pause") for one in pause or []] + [(one, "resume") for one in resume or []]:
            admin(client, "POST", f"gates/{quote(gate, safe=':')}/{action}", repeatable=True)
        rows = listed(admin(client, "GET", "gates"), "gates")
    caller.output.table(columns_of(rows, GATES), rows)
    return OK


def queue(*, pause: Flag = False, resume: Flag = False, caller: Caller = ANYBODY) -> int:
    """Show whether the queue is paused; pause or resume it.

    Parameters
    ----------
    pause
        Start no job; those that run end.
    resume
        Start jobs again.
    """
    action = change_of(pause=pause, resume=resume)
    with caller.client() as client:
        if action is not None:
            admin(client, "POST", f"queue/{'pause' if action else 'resume'}", repeatable=True)
        caller.output.record(admin(client, "GET", "queue"))
    return OK


def workers(*, drain: list[str] | None = None, resume: list[str] | None = None, caller: Caller = ANYBODY) -> int:
    """Show the workers; let some drain, or take jobs again.

    Parameters
    ----------
    drain
        A worker that is to take no new job.
    resume
        A worker that was drained so and is to take jobs again.
    """
    with caller.client() as client:
        for name, action in [(one, "drain") for one in drain or []] + [(one, "resume") for one in resume or []]:
            admin(client, "POST", f"workers/{quote(name, safe='')}/{action}", repeatable=True)
        rows = listed(admin(client, "GET", "workers"), "workers")
    caller.output.table(columns_of(rows, WORKERS), rows)
    return OK


def failure_groups(
    client: Presswork, group_by: str, since: str | None = None, organization: str | None = None
) -> list[dict[str, Any]]:
    """All groups of failed jobs, without their counts over time; those of several pages are one, the newest examples
    first."""
    given = {"groupBy": group_by, "from": since, "organizationId": organization}
    params = {name: value for name, value in given.items() if value is not None}
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    while True:
        page = admin(client, "GET", "failures", params=params)
        for group in listed(page, "groups"):
            group.pop("counts", None)
            key = tuple(group.get(name) for name in group_by.split(","))
            groups[key] = _together(groups[key], group) if key in groups else group
        if not page.get("cursor"):
            return list(groups.values())
        params["cursor"] = page["cursor"]


def _together(newer: dict[str, Any], older: dict[str, Any]) -> dict[str, Any]:
    examples = [*newer["jobIds"], *older["jobIds"]][:EXAMPLES]
    return newer | {"count": newer["count"] + older["count"], "firstAt": older["firstAt"], "jobIds": examples}


def admin(client: Presswork, method: str, path: str, **more: Any) -> dict[str, Any]:
    """A call of an operator. NotServed when the gateway has none such."""
    try:
        return client.call(method, f"{ADMIN}/{path}", **more)
    except NotFound as error:
        if error.detail is not None:
            raise
        raise NotServed(f"this gateway does not serve {ADMIN}/{path.partition('/')[0]}: it is of an older release, or "
                        "another service answers at this address") from None  # fmt: skip


def change_of(*, pause: bool, resume: bool) -> bool | None:
    """Whether to pause something; None: leave it. WrongArgument for both."""
    if pause and resume:
        raise WrongArgument("--pause and --resume: give one of them")
    return pause if pause or resume else None


def listed(answer: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The rows of an answer."""
    rows: Sequence[dict[str, Any]] = answer.get(name) or ()
    return list(rows)


def _joined(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"jobIds": " ".join(row.get("jobIds") or ())}
