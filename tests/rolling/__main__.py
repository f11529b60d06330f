"""`make rolling`: restart every service under load. Prints a report; exit status 1 when a client noticed."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.rolling.driver import Plan, Release
from tests.support.verdict import verdict


def main() -> int:
    """Run one plan from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs-per-second", type=float, default=50.0)
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    plan = Plan(jobs_per_second=chosen.jobs_per_second, readers=chosen.readers, rounds=chosen.rounds)
    print(f"rolling: {plan.jobs_per_second:g} jobs/s, {plan.readers} event streams, {plan.rounds} rounds", flush=True)
    with tempfile.TemporaryDirectory(prefix="presswork-rolling-") as folder:
        report = uvloop.run(Release(plan, Path(folder)).run())
    seen = report.seen
    print(f"{report.seconds:.0f} s; {report.restarts} restarts; {report.jobs} jobs {dict(report.outcomes)}")
    print(f"{report.jobs_per_second:.1f} jobs/s were reached; less than asked for means that this machine was busy")
    print(f"{seen.calls} calls, {seen.repeated.total()} of them repeated; slowest submit {seen.slowest:.2f} s")
    print(f"{report.watched} jobs watched, {seen.most_streams} streams at once, {seen.resumed} times resumed")
    print(f"{report.released} of the watched jobs were released by a worker that left")
    return verdict(report.problems, "nobody noticed")


if __name__ == "__main__":
    sys.exit(main())
