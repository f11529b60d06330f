"""The real worker with a provider to measure with: `python -m bench.worker`, settings as for the real one and

BENCH_STARTS, BENCH_ENDS: files in which each job leaves a record when it starts and when its text is done.
BENCH_DELTA: characters of the result that go to the log before the end (default 0: no delta).
BENCH_RUN_MS: how long a job takes (default 0).
BENCH_ARRIVALS: file for when tokens arrived (bench/stamps.py). Then the providers are those of PROVIDERS, and `openai`
    is the real one, timed; without it the only provider is one that does nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from bench import stamps
from bench.load import RESULT, START
from services.worker import app
from services.worker.providers import Completion, GenerationRequest
from services.worker.settings import read_worker
from shared.job import Usage
from shared.server.serve import run, set_by_signals
from shared.settings import read_store
from shared.telemetry import logs

DELTA_SECONDS: Final = 0.02
"""Between the delta and the end: long enough for the delta to be on its way alone."""

_DONE: Final = Completion(usage=Usage(input_tokens=10, output_tokens=100), finish_reason="stop")


class NoopProvider:
    """Answers the same 600 bytes to everybody."""

    def __init__(self, *, starts: Path | None, ends: Path | None, delta: int, run_s: float) -> None:
        self._starts = None if starts is None else starts.open("ab", buffering=0)
        self._ends = None if ends is None else ends.open("ab", buffering=0)
        self._delta = delta
        self._run_s = run_s

    gated = False

    def cost(self, _: str, __: Usage) -> int:
        """See `Provider`."""
        return 0

    async def aclose(self) -> None:
        """See `Provider`."""

    async def stream(self, request: GenerationRequest) -> AsyncIterator[str | Completion]:
        """See `Provider`."""
        if self._starts is not None:
            self._starts.write(START.pack(time.time(), request.job_id.encode()))
        if self._run_s:
            await asyncio.sleep(self._run_s)
        if self._delta:
            yield RESULT[: self._delta]
            await asyncio.sleep(DELTA_SECONDS)
        yield RESULT[self._delta :]
        if self._ends is not None:
            self._ends.write(START.pack(time.time(), request.job_id.encode()))
        yield _DONE


def _file(name: str) -> Path | None:
    return Path(os.environ[name]) if os.environ.get(name) else None


def _noop() -> NoopProvider:
    return NoopProvider(
        starts=_file("BENCH_STARTS"),
        ends=_file("BENCH_ENDS"),
        delta=int(os.environ.get("BENCH_DELTA", "0")),
        run_s=float(os.environ.get("BENCH_RUN_MS", "0")) / 1000,
    )


async def main() -> None:
    """As services/worker/__main__.py, with a provider of ours."""
    arrivals = _file("BENCH_ARRIVALS")
    settings = read_worker(os.environ, **({} if arrivals else {"providers": "noop:noop"}))
    logs.configure("worker", settings.log_level)
    providers = {"openai": stamps.timed_openai(settings, arrivals)} if arrivals else {"noop": _noop()}
    stop = asyncio.Event()
    with set_by_signals(stop):
        await app.run(settings, read_store(os.environ), stop, providers=providers)


if __name__ == "__main__":
    sys.exit(run("worker", main()))
