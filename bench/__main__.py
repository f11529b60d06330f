"""`python -m bench [name...] [--quick] [--<size> value...]`: runs all benchmarks, or those named."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Final

from bench import sizes as sizing

NAMES: Final = (
    "engine", "http", "latency", "commands", "idle", "frugal", "memory", "streams", "tokens", "growth", "maintenance",
    "answers", "fairness",
)  # fmt: skip
RESULTS: Final = Path(__file__).parent / "results"


def main() -> None:
    """Run one benchmark after the other; each prints its table and appends a line to bench/results/<name>.json."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="sizes that only show that everything runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON lines")
    sizing.add_flags(parser)
    flags = parser.parse_args()
    if unknown := set(flags.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    sizes = sizing.from_flags(flags)
    for name in flags.names or NAMES:
        report = importlib.import_module(f"bench.{name}").run(sizes)
        report.print()
        report.append_to(flags.results)


if __name__ == "__main__":
    main()
