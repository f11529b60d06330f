"""`presswork jobs`, `job`, `cancel`, `retry` and `delete`."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final, Literal

from cyclopts import App

from presswork_client.cli.caller import ANYBODY, Caller
from presswork_client.cli.exits import OF_STATUS, OK
from presswork_client.cli.output import Output
from presswork_client.models import JobView

SHOWN: Final = ("jobId", "status", "provider", "model", "costUsd", "createdAt", "endedAt")


def add_to(app: App) -> None:
    """Add the commands."""
    for command in (jobs, job, cancel, retry, delete):
        app.command(command)


def jobs(
    *,
    status: Literal["queued", "processing", "completed", "failed", "cancelled"] | None = None,
    limit: int = 50,
    caller: Caller = ANYBODY,
) -> int:
    """List jobs of the organization, newest first.

    Parameters
    ----------
    status
        Only jobs of this status.
    limit
        Most jobs that are listed.
    """
    with caller.client() as client:
        rows = [_row(view) for view in islice(client.jobs(status=status), limit)]
    caller.output.table(SHOWN, rows)
    return OK


def job(job_id: str, /, *, wait: float = 0.0, text: bool = False, caller: Caller = ANYBODY) -> int:
    """Show a job. With --wait or --text the exit status says how it ended.

    Parameters
    ----------
    job_id
        Id of the job.
    wait
        Seconds to wait for its end.
    text
        Wait for the end, and write the text alone.
    """
    with caller.client() as client:
        found = client.job(job_id)
        view = found.result() if text else found.status(wait=wait)
    if text and not caller.json:
        caller.output.text(f"{view.text}\n")
    else:
        _show(caller.output, view)
    return OF_STATUS.get(view.status, OK) if wait or text else OK


def cancel(job_id: str, /, *, caller: Caller = ANYBODY) -> int:
    """End a waiting or running job."""
    with caller.client() as client:
        _show(caller.output, client.job(job_id).cancel())
    return OK


def retry(job_id: str, /, *, caller: Caller = ANYBODY) -> int:
    """Make one new job from a failed or cancelled one; called again it answers the same."""
    with caller.client() as client:
        caller.output.record({"jobId": client.job(job_id).retry().id, "retryOf": job_id})
    return OK


def delete(job_id: str, /, *, caller: Caller = ANYBODY) -> int:
    """Delete a job with its texts; a running one is cancelled first."""
    with caller.client() as client:
        client.job(job_id).delete()
    caller.output.record({"jobId": job_id, "deleted": True})
    return OK


def _row(view: JobView) -> dict[str, Any]:
    return {"jobId": view.job_id, "status": view.status, **view.raw}


def _show(output: Output, view: JobView) -> None:
    row = _row(view)
    if output.as_json:
        output.record(row)
        return
    result = row.pop("result", None)
    output.record(row)
    if result is not None:
        output.text(f"\n{result}\n")
