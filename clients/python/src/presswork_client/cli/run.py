"""`presswork run` and `presswork watch`: jobs that are followed to their end, and the queue as it moves."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from presswork_client.cli.caller import ANYBODY, LONG_PATIENCE_S, Caller
from presswork_client.cli.exits import INTERRUPTED, OK
from presswork_client.cli.job_options import NO_OPTIONS, JobOptions
from presswork_client.cli.output import Output, note
from presswork_client.cli.streaming import follow
from presswork_client.client import Job, Presswork
from presswork_client.errors import Forbidden, NotFound, PressworkError, Unauthorized

COUNTS = ("queued", "processing", "completed", "failed", "cancelled")


def add_to(app: App) -> None:
    """Add the commands."""
    app.command(run)
    app.command(watch)


def run(
    prompt: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    job: JobOptions = NO_OPTIONS,
    idempotency_key: str | None = None,
    stream: bool = True,
    on_interrupt: Literal["cancel", "detach"] = "cancel",
    caller: Caller = ANYBODY,
) -> int:
    """Submit a prompt and show its text as it arrives. The exit status says how the job ended.

    Parameters
    ----------
    prompt
        The prompt; - reads it from standard input.
    stream
        Show the text as it grows. A file always gets it when it is whole.
    on_interrupt
        What Ctrl-C does to the job.
    """
    asked, output = job.asked(), caller.output
    text = sys.stdin.read() if prompt == "-" else prompt
    with caller.client(LONG_PATIENCE_S) as client:
        submitted = _submitted(client, text, idempotency_key, asked)
        return _followed(submitted, output, growing=stream and not output.whole, cancels=on_interrupt == "cancel")


def watch(
    job_id: str | None = None, /, *, interval: float = 2.0, count: int | None = None, caller: Caller = ANYBODY
) -> int:
    """Follow a job from its beginning to its end; without an id the queue's counts, until Ctrl-C.

    Parameters
    ----------
    job_id
        Id of the job.
    interval
        Seconds between two readings of the counts.
    count
        Readings of the counts; left out: without end.
    """
    output = caller.output
    with caller.client(LONG_PATIENCE_S) as client:
        if job_id is not None:
            return _followed(client.job(job_id), output, growing=not output.whole, cancels=False)
        _counts(client, output, interval, count)
    return OK


def _submitted(client: Presswork, text: str, key: str | None, options: dict[str, Any]) -> Job:
    try:
        return client.submit(text, idempotency_key=key, **options)
    except KeyboardInterrupt:
        note("\nNo answer came: the job may be in the queue; presswork jobs lists it")
        raise


def _followed(job: Job, output: Output, *, growing: bool, cancels: bool) -> int:
    try:
        return follow(job, output, growing=growing)
    except KeyboardInterrupt:
        note(f"\n{_interrupted(job, cancels=cancels)}")
        return INTERRUPTED
    except (Unauthorized, Forbidden, NotFound):
        raise
    except (PressworkError, OSError):
        note(f"The job goes on: presswork watch {job.id}")
        raise


def _interrupted(job: Job, *, cancels: bool) -> str:
    if cancels:
        try:
            job.cancel()
        except PressworkError as error:
            return f"{job.id} was not cancelled: {error}"
        return f"{job.id} is cancelled"
    return f"{job.id} goes on: presswork watch {job.id}"


def _counts(client: Presswork, output: Output, interval: float, count: int | None) -> None:
    readings = 0
    while count is None or readings < count:
        if readings:
            time.sleep(interval)
        stats = client.stats()
        readings += 1
        if output.as_json:
            output.line(stats)
        else:
            print("  ".join(f"{name} {stats.get(name, 0)}" for name in COUNTS), flush=True)
