"""Runs the tests of mutations, each in a process of its own, in copies of the tree."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.mutation.listing import Mutation

SECONDS: Final = 300.0
"""Patience with the tests of one mutation; damage that makes them hang is noticed too."""

VERDICTS: Final = {0: "survived", 1: "killed"}
"""By pytest's exit status; another one is a run without a result: no such test, or a syntax error."""

PUBLISHES: Final = 4000
"""Characters of a run's output that are shown when it broke down."""

CAUSE: Final = re.compile(r"^(?:FAILED|ERROR) \S.*? - (.*)$", re.MULTILINE)
"""A line of pytest's summary: the test, and the exception that ended it."""


class Trials:
    """`verdicts`: killed, survived or broken, by the names of the mutations judged so far."""

    def __init__(self, chosen: Iterable[Mutation]) -> None:
        self._waiting = queue.SimpleQueue[Mutation]()
        self._tests: dict[str, None] = {}
        self._running: set[subprocess.Popen[str]] = set()
        self.verdicts: dict[str, str] = {}
        for mutation in chosen:
            self._waiting.put(mutation)
            self._tests |= dict.fromkeys(mutation.tests)

    def pass_without_damage(self, copy: Path, processes: int) -> bool:
        """Whether all the tests pass on the sound tree: one that fails anyway would kill every mutation."""
        status, output = self._run(copy, ["-n", str(processes), *self._tests], None)
        if status:
            print(output[-PUBLISHES:], "tests fail without any damage", sep="\n", flush=True)
        return not status

    def work(self, copy: Path) -> None:
        """Judge mutations in this copy of the tree until none waits."""
        while True:
            try:
                mutation = self._waiting.get_nowait()
            except queue.Empty:
                return
            began = time.monotonic()
            verdict, cause = self._verdict(copy, mutation)
            self.verdicts[mutation.name] = verdict
            note = mutation.survives or cause
            print(f"{verdict:9} {time.monotonic() - began:5.0f} s  {mutation.name} ({note})", flush=True)

    def stop(self) -> None:
        """Begin no other trial, and end those under way."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()
        for run in list(self._running):
            _end(run)

    def _verdict(self, copy: Path, mutation: Mutation) -> tuple[str, str]:
        """The verdict, and the cause of a kill: tests that only break down or hang notice less than an assertion."""
        path = copy / mutation.file
        sound = path.read_text(encoding="utf-8")
        path.write_text(mutation.damaged(copy), encoding="utf-8")
        try:
            status, output = self._run(copy, ["-x", *mutation.tests], SECONDS)
        finally:
            path.write_text(sound, encoding="utf-8")

        if status is None:
            return "killed", f"the tests took longer than {SECONDS:.0f} s"

        verdict = VERDICTS.get(status, "broken")
        if verdict == "broken":
            print(output[-PUBLISHES:], flush=True)
        cause = CAUSE.search(output)
        return verdict, cause[1] if cause else "no test failed"

    def _run(self, copy: Path, arguments: list[str], seconds: float | None) -> tuple[int | None, str]:
        """pytest's exit status, None: it took too long; and its output."""
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", *arguments]
        # Bytecode of the copies is kept: without it each run would compile the whole tree.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["COLUMNS"] = "300"
        run = subprocess.Popen(
            command, cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._running.add(run)
        try:
            output, _ = run.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(run)
            return None, ""
        finally:
            self._running.discard(run)
        return run.returncode, output


def _end(run: subprocess.Popen[str]) -> None:
    """End the tests, and the servers that they started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
