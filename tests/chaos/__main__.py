"""`make chaos`: a minute of random faults under load. Prints a report; exit status 1 when an invariant broke."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.driver import Chaos, Plan
from tests.support.verdict import verdict


def main() -> int:
    """Run one plan from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    plan = Plan(jobs=chosen.jobs, seconds=chosen.seconds, workers=chosen.workers, seed=chosen.seed)
    print(f"chaos: {plan.jobs} jobs, {plan.workers} workers, {plan.seconds:g} s, seed {plan.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="presswork-chaos-") as folder:
        report = asyncio.run(Chaos(plan, Path(folder)).run())
    print(f"{report.seconds:.0f} s; outcomes {dict(report.outcomes)}; faults {dict(report.faults)}")
    print(f"errors {dict(report.errors)}; explicit gaps {report.gaps}; keys revoked {report.revoked}")
    return verdict(report.problems, "every invariant held")


if __name__ == "__main__":
    sys.exit(main())
