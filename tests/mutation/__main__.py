"""`make mutate`: damages one line at a time in a copy of the tree and runs the tests that must notice.

Exit status 1 when fewer than 95 % were noticed of those that can be, or a test run broke down. Names on the command
line choose among the mutations; each stands for all whose name begins so.
"""

from __future__ import annotations

import argparse
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from tests.mutation.listing import ROOT, Mutation, mutations

LEAST_KILLED: Final = 0.95
SECONDS: Final = 300.0
"""Patience with the tests of one mutation; damage that makes them hang is noticed too."""

VERDICTS: Final = {0: "survived", 1: "killed"}
"""By pytest's exit status; another one is a run that told nothing: no such test, or one that cannot be collected."""


def _verdict(copy: Path, mutation: Mutation) -> str:
    path = copy / mutation.file
    sound = path.read_text(encoding="utf-8")
    try:
        damaged = mutation.damaged(copy)
    except ValueError as error:
        print(error, flush=True)
        return "broken"

    path.write_text(damaged, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *mutation.tests]
    try:
        run = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "killed"
    finally:
        path.write_text(sound, encoding="utf-8")

    verdict = VERDICTS.get(run.returncode, "broken")
    if verdict == "broken":
        print(run.stdout[-2000:], run.stderr[-2000:], flush=True)
    return verdict


def _work(waiting: queue.SimpleQueue[Mutation], verdicts: dict[str, str]) -> None:
    """Judge mutations until none waits, in a copy of the tree of its own."""
    with tempfile.TemporaryDirectory(prefix="presswork-mutation-") as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "results"))
        while not waiting.empty():
            try:
                mutation = waiting.get_nowait()
            except queue.Empty:
                return
            began = time.monotonic()
            verdicts[mutation.name] = _verdict(copy, mutation)
            note = f" ({mutation.survives})" if mutation.survives else ""
            seconds = time.monotonic() - began
            print(f"{verdicts[mutation.name]:9} {seconds:5.0f} s  {mutation.name}{note}", flush=True)


def main() -> int:
    """Judge the chosen mutations, `--jobs` at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    wanted = tuple(arguments.names) or ("",)
    chosen = [mutation for mutation in mutations() if mutation.name.startswith(wanted)]

    waiting, verdicts = queue.SimpleQueue[Mutation](), dict[str, str]()
    for mutation in chosen:
        waiting.put(mutation)
    threads = [threading.Thread(target=_work, args=(waiting, verdicts)) for _ in range(arguments.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    return _judge(chosen, verdicts)


def _judge(chosen: list[Mutation], verdicts: dict[str, str]) -> int:
    unexplained = [mutation.name for mutation in chosen if not mutation.survives]
    killed = [name for name in unexplained if verdicts[name] == "killed"]
    broken = [name for name, verdict in verdicts.items() if verdict == "broken"]
    wrong = [m.name for m in chosen if m.survives and verdicts[m.name] == "killed"]
    print(f"{len(killed)} of {len(unexplained)} killed, {len(chosen) - len(unexplained)} explained", flush=True)
    for name in sorted(set(unexplained) - set(killed)):
        print(f"{verdicts[name]}: {name}")
    for name in wrong:
        print(f"killed although it is said to survive: {name}")
    return 1 if broken or wrong or len(killed) < LEAST_KILLED * len(unexplained) else 0


if __name__ == "__main__":
    sys.exit(main())
