"""`presswork redrive`: retries failed jobs, as many as were seen, and follows the task that does it."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from cyclopts import App, Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from presswork_client.cli.caller import ANYBODY, Caller
from presswork_client.cli.exits import FAILED, OK, WrongArgument
from presswork_client.cli.operators import admin, failure_groups
from presswork_client.cli.output import console, note
from presswork_client.client import Presswork

POLL_S: Final = 0.5
GROUPED: Final = "errorType,provider,organizationId"


def add_to(app: App) -> None:
    """Add the command."""
    app.command(redrive)


def redrive(
    *job_ids: str,
    error_type: str | None = None,
    provider: str | None = None,
    expected: int | None = None,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="")] = False,
    wait: bool = True,
    caller: Caller = ANYBODY,
) -> int:
    """Retry failed jobs: those with these ids, or those of a cause. Each gets one new job.

    Parameters
    ----------
    job_ids
        Ids of failed jobs.
    error_type
        Only jobs that failed with this type of error.
    provider
        Only jobs of this provider.
    expected
        The number of jobs it must be; left out: the number there is when it is asked.
    yes
        Do not ask.
    wait
        Wait until all are retried.
    """
    wanted = {"errorType": error_type, "provider": provider, "organizationId": caller.organization}
    with caller.client() as client:
        body = _body(client, job_ids, {name: value for name, value in wanted.items() if value is not None}, expected)
        if not yes and not _confirmed(body["expected"]):
            note("Nothing is retried")
            return FAILED

        task = admin(client, "POST", "failures/redrive", body=body)
        state = _followed(client, task, shown=not caller.json) if wait else task
    caller.output.record({"taskId": task.get("taskId"), **state})
    return OK


def _body(client: Presswork, job_ids: Sequence[str], chosen: Mapping[str, str], expected: int | None) -> dict[str, Any]:
    """The body of the call: which jobs, and how many they must be. WrongArgument when none are named."""
    if not job_ids and not chosen:
        raise WrongArgument("name jobs, or a cause: --error-type, --provider or --organization")
    body: dict[str, Any] = {"jobIds": list(job_ids)} if job_ids else {"filter": chosen}
    count = len(job_ids) if job_ids else _count(client, chosen)
    return body | {"expected": count if expected is None else expected}


def _count(client: Presswork, chosen: Mapping[str, str]) -> int:
    """The number of failed jobs of a cause, as the groups have it."""
    groups = failure_groups(client, GROUPED, organization=chosen.get("organizationId"))
    return sum(
        int(group.get("count", 0))
        for group in groups
        if all(group.get(name, value) == value for name, value in chosen.items())
    )


def _confirmed(count: int) -> bool:
    if not sys.stdin.isatty():
        raise WrongArgument(
            f"this would retry {count} jobs: say --yes, and --expected {count} to be sure of the number"
        )
    note(f"Retry {count} failed jobs? Type the number to go on:")
    return sys.stdin.readline().strip() == str(count)


def _followed(client: Presswork, task: Mapping[str, Any], *, shown: bool) -> dict[str, Any]:
    """The task once it is done."""
    stderr = console(stderr=True)
    columns = (TextColumn("redrive"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=stderr, disable=not (shown and stderr.is_terminal)) as bar:
        drawn = bar.add_task("redrive", total=task.get("count"))
        while True:
            state = admin(client, "GET", f"tasks/{task['taskId']}")
            bar.update(drawn, completed=state.get("done", 0), total=state.get("count"))
            if state.get("state") != "running":
                return state
            time.sleep(POLL_S)
