"""`python -m tests.hostile [--requests 10000] [--seed 7]`: the long version of `test_hostile.py`, against a gateway and
a server of its own."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

from shared.store.embedded.server import EmbeddedServer
from tests.hostile.driver import Findings, attack, document_of
from tests.hostile.requests import hostile_requests
from tests.support.processes import ServiceProcess


async def _attack(folder: Path, count: int, number: int) -> Findings:
    with EmbeddedServer(folder / "valkey", aof=False) as server:
        environment = {"REDIS_URL": server.url, "LOG_LEVEL": "ERROR", "MAX_QUEUED_JOBS": "10000000"}
        async with ServiceProcess("gateway", environment, folder / "log") as gateway:
            document = await asyncio.to_thread(document_of, gateway.url)
            requests = hostile_requests(document, count, number)
            found = await asyncio.to_thread(attack, gateway.url, gateway.process.pid, requests)
        sys.stdout.write((folder / "log").read_text()[-2000:])
    return found


def main() -> int:
    """Attack, and print the findings; 1 when a bound broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="presswork-hostile-") as folder:
        found = asyncio.run(_attack(Path(folder), flags.requests, flags.seed))
    print("answers:", dict(sorted(found.statuses.items())))
    print("neighbour:", dict(found.neighbour), f"median {statistics.median(found.waits_s) * 1000:.1f} ms,",
          f"longest {found.stall_s:.2f} s, of which {found.stall_cpu_s:.2f} s CPU of the gateway")  # fmt: skip
    print("memory, MiB:", *(f"{held:.0f}" for held in found.memory[:: max(1, len(found.memory) // 12)]))
    return 1 if found.errors or found.stall_cpu_s >= 0.3 else 0


if __name__ == "__main__":
    sys.exit(main())
