"""`make mutate`: damages one line at a time in a copy of the tree and runs the tests that must notice.

Exit status 1 when fewer than 95 % were noticed of those that can be, a test run broke down, or tests fail without any
damage. Names on the command line choose among the mutations; each stands for all whose name begins so.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final

from tests.mutation.listing import ROOT, Mutation, mutations
from tests.mutation.trials import Trials

LEAST_KILLED: Final = 0.95


def main() -> int:
    """Judge the chosen mutations, `--jobs` at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--no-first-run", action="store_true", help="take it that the tests pass without damage")
    arguments = parser.parse_args()
    wanted = tuple(arguments.names) or ("",)
    chosen = [mutation for mutation in mutations() if mutation.name.startswith(wanted)]

    with tempfile.TemporaryDirectory(prefix="presswork-mutation-") as folder:
        copies = [Path(folder) / f"tree-{number}" for number in range(max(min(arguments.jobs, len(chosen)), 1))]
        for copy in copies:
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "results"))
        trials = Trials(chosen)
        try:
            if not arguments.no_first_run and not trials.pass_without_damage(copies[0], len(copies)):
                return 1
            threads = [threading.Thread(target=trials.work, args=[copy]) for copy in copies]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            trials.stop()

    return _judge(chosen, trials.verdicts)


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
