"""Enqueues jobs from a process of its own and prints how long it took: `python -m bench.producer JOBS CONCURRENCY`.

One job more goes first, to open the connection. The store is the environment's, as for the services.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import uvloop

from bench.load import new_job
from shared.settings import read_store
from shared.store.job_store import open_store


async def enqueue(jobs: int, concurrency: int) -> float:
    """Enqueue from `concurrency` tasks; the time it took in s."""
    async with open_store(read_store(os.environ), client_name="producer") as store:
        numbers = iter(range(jobs))

        async def produce() -> None:
            for _ in numbers:
                await store.submit(new_job())

        await store.submit(new_job())
        started = time.perf_counter()
        await asyncio.gather(*(produce() for _ in range(concurrency)))
        return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps({"seconds": uvloop.run(enqueue(int(sys.argv[1]), int(sys.argv[2])))}))
