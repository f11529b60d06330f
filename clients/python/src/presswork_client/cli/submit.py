"""`presswork submit`: the jobs of a file, one a line. Cut at any moment and run again it submits the rest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from cyclopts import App
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from presswork_client.cli.caller import ANYBODY, LONG_PATIENCE_S, Caller
from presswork_client.cli.exits import FAILED, OK, WRONG, WrongArgument
from presswork_client.cli.journal import SUFFIX, Journal
from presswork_client.cli.output import Output, console, note
from presswork_client.client import Presswork
from presswork_client.errors import PressworkError, Problem
from presswork_client.requests import BATCH_MAX

NOTED: Final = 20
"""Refused lines that are named one by one."""

DEPTH_MAX: Final = 100
"""Levels of a line: more than the API takes anywhere. Deeper ones would spoil the request of a whole batch."""

_TOO_DEEP: Final = f"it is nested deeper than {DEPTH_MAX} levels"


class Line(NamedTuple):
    """A line of the file: its number from 1, its key, and the body of its job, or why it is none."""

    number: int
    key: str
    body: dict[str, Any] | None
    fault: str


def add_to(app: App) -> None:
    """Add the command."""
    app.command(submit)


def submit(file: Path, /, *, journal: Path | None = None, caller: Caller = ANYBODY) -> int:
    """Submit the jobs of a file, one JSON object a line as the API takes it, or one prompt in quotes.

    Run it again after an interruption: it goes on, and no job is submitted twice.

    Parameters
    ----------
    file
        The file, in JSON lines.
    journal
        File that remembers the submitted lines; left out: the file's name with .jobs at its end. Remove it to submit
        the same file once more.
    """
    if file.exists() and not file.is_file():
        raise WrongArgument(
            f"{file} is no file: it is read twice, and again after an interruption; save the jobs in one"
        )
    path = journal or file.with_name(file.name + SUFFIX)
    try:
        total = _count(file)
        with Journal(path) as opened, caller.client(LONG_PATIENCE_S) as client, _bar() as bar:
            task = bar.add_task(file.name, total=total)
            run = Run(client, opened, caller.output)
            try:
                for done in run.through(file):
                    bar.advance(task, done)
            except PressworkError:
                note(f"{run.submitted + run.known} of {total} are submitted; run the same command again to go on")
                raise
    except OSError as error:
        note(f"{error.filename or file}: {error.strerror}")
        return WRONG
    return run.report(total, path)


class Run:
    """One run through a file. `submitted`: jobs of this run; `known`: those of earlier ones; `refused`: bad lines."""

    def __init__(self, client: Presswork, journal: Journal, output: Output) -> None:
        self._client = client
        self._journal = journal
        self._output = output
        self.submitted = self.known = self.refused = 0

    def through(self, file: Path) -> Iterator[int]:
        """Submit the lines that are not submitted yet; yields the number of lines done since the last time."""
        batch: list[Line] = []
        for line in self._lines(file):
            if (job_id := self._journal.jobs.get(line.key)) is not None:
                self.known += 1
                self._say(line, {"jobId": job_id})
                yield 1
            elif line.body is None:
                self._refuse(line, line.fault)
                yield 1
            else:
                batch.append(line)
            if len(batch) == BATCH_MAX:
                yield self._send(batch)
                batch = []

        if batch:
            yield self._send(batch)

    def report(self, total: int, path: Path) -> int:
        """Report the run; returns the exit status."""
        if not self._output.as_json:
            known = f", {self.known} were before" if self.known else ""
            refused = f", {self.refused} refused" if self.refused else ""
            print(f"{self.submitted} of {total} submitted{known}{refused}; their ids are in {path}")
        return FAILED if self.refused else OK

    def _lines(self, file: Path) -> Iterator[Line]:
        with file.open("rb") as opened:
            for number, line in enumerate(opened, 1):
                if text := line.strip():
                    yield Line(number, self._journal.key(text), *_body(text))

    def _send(self, batch: list[Line]) -> int:
        answers = self._client.submit_bodies([{"idempotencyKey": line.key, **(line.body or {})} for line in batch])
        pairs = list(zip(batch, answers, strict=True))
        accepted = [(line, answer.id) for line, answer in pairs if not isinstance(answer, Problem)]
        self._journal.add((line.key, job_id) for line, job_id in accepted)
        self.submitted += len(accepted)

        for line, answer in pairs:
            if isinstance(answer, Problem):
                self._refuse(line, str(answer), answer.slug)
            else:
                self._say(line, {"jobId": answer.id})
        return len(batch)

    def _refuse(self, line: Line, reason: str, slug: str = "invalid-request") -> None:
        self.refused += 1
        self._say(line, {"error": {"type": slug, "message": reason}})
        if not self._output.as_json and self.refused <= NOTED:
            note(f"line {line.number}: {reason}")

    def _say(self, line: Line, answer: dict[str, Any]) -> None:
        if self._output.as_json:
            self._output.line({"line": line.number, **answer})


def _count(file: Path) -> int:
    with file.open("rb") as opened:
        return sum(1 for line in opened if line.strip())


def _body(text: bytes) -> tuple[dict[str, Any] | None, str]:
    """The body of a line's job; None and the reason when it is none."""
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None, "it holds half an emoji (a lone surrogate): cut texts between characters"
    except RecursionError:
        return None, _TOO_DEEP
    except ValueError:
        found = None
    if _is_deep(found):
        return None, _TOO_DEEP
    if isinstance(found, str):
        return {"prompt": found}, ""
    return (found, "") if isinstance(found, dict) else (None, "it is no JSON object and no text in quotes")


def _is_deep(found: object) -> bool:
    """Whether a value has more than `DEPTH_MAX` levels. One after the other: how deep calls may go is not the same on
    every Python."""
    level = [found]
    for _ in range(DEPTH_MAX + 1):
        level = [part for one in level for part in _parts(one)]
        if not level:
            return False
    return True


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _bar() -> Progress:
    shown = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=shown, disable=not shown.is_terminal)
