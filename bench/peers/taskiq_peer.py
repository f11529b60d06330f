"""taskiq with RedisStreamBroker and RedisAsyncResultBackend. `enqueue` prints how long it took; the worker is taskiq's.

RedisStreamBroker has no acknowledged-entry deletion and no result expiry by default; both are left so.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import uvloop  # type: ignore[import-not-found,unused-ignore]
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker  # type: ignore[import-not-found,unused-ignore]

from bench.peers.job import RESULT, note_start

URL = os.environ["BENCH_REDIS_URL"]
broker: Any = RedisStreamBroker(URL).with_result_backend(RedisAsyncResultBackend(URL, prefix_str="result"))


async def noop(payload: dict[str, object]) -> str:  # noqa: ARG001 - carried like every job's payload
    """Do nothing."""
    note_start()
    return RESULT


task: Any = broker.register_task(noop, task_name="noop")


async def enqueue(jobs: int, concurrency: int) -> float:
    """Enqueue from `concurrency` tasks; the time it took in s."""
    payload = json.loads(os.environ["BENCH_PAYLOAD"])
    await broker.startup()
    numbers = iter(range(jobs))

    async def produce() -> None:
        for _ in numbers:
            await task.kiq(payload)

    await task.kiq(payload)
    started = time.perf_counter()
    await asyncio.gather(*(produce() for _ in range(concurrency)))
    seconds = time.perf_counter() - started
    await broker.shutdown()
    return seconds


if __name__ == "__main__":
    print(json.dumps({"seconds": uvloop.run(enqueue(int(sys.argv[1]), int(sys.argv[2])))}))
