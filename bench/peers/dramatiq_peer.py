"""dramatiq with its Redis broker and its Redis results. `python -m` enqueues and prints how long it took."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import dramatiq  # type: ignore[import-not-found,unused-ignore]
from dramatiq.brokers.redis import RedisBroker  # type: ignore[import-not-found,unused-ignore]
from dramatiq.results import Results  # type: ignore[import-not-found,unused-ignore]
from dramatiq.results.backends import RedisBackend  # type: ignore[import-not-found,unused-ignore]

from bench.peers.job import RESULT, note_start

URL = os.environ["BENCH_REDIS_URL"]
broker: Any = RedisBroker(url=URL)
broker.add_middleware(Results(backend=RedisBackend(url=URL), store_results=True))
dramatiq.set_broker(broker)


def noop(payload: dict[str, object]) -> str:  # noqa: ARG001 - carried like every job's payload
    """Do nothing."""
    note_start()
    return RESULT


task: Any = dramatiq.actor(noop, actor_name="noop")


def enqueue(jobs: int) -> float:
    """Enqueue in a plain loop, as dramatiq has no asynchronous call; the time it took in s."""
    payload = json.loads(os.environ["BENCH_PAYLOAD"])
    task.send(payload)
    started = time.perf_counter()
    for _ in range(jobs):
        task.send(payload)
    return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps({"seconds": enqueue(int(sys.argv[1]))}))
