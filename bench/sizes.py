"""Size of a run. Every field is a flag of the command line: `--jobs 2000`, `--depths 1000,100000`."""

from __future__ import annotations

import argparse
from typing import Final

import msgspec


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of all benchmarks. Durations in s."""

    repetitions: int = 3
    """Measurements of each row; rows are interleaved."""
    jobs: int = 10_000
    """engine, growth: jobs per drain."""
    concurrency: int = 50
    """engine: concurrent enqueues, and slots of the worker."""
    quiet_wait: float = 15.0
    """engine, http, growth, tokens: how long a measurement waits for the machine to be quiet."""
    http_seconds: float = 3.0
    http_connections: int = 32
    http_batch_connections: int = 8
    http_batch: int = 50
    paced_jobs: int = 200
    """latency, commands: jobs at `rate` a second."""
    rate: float = 20.0
    idle_warm_up: float = 40.0
    idle_seconds: float = 60.0
    frugal_seconds: float = 660.0
    """frugal: the window without jobs, of two sleeps at least."""
    memory_jobs: int = 20_000
    streams: int = 2_000
    settle: float = 2.0
    """streams: how long open streams rest before memory is read, and how long their CPU is measured."""
    stream_jobs: int = 300
    """streams: jobs whose end is timed at the client while the other streams idle."""
    token_streams: int = 1_000
    """tokens: jobs that stream at once, at each of `token_rates` a second and stream."""
    token_rates: tuple[float, ...] = (5.0, 10.0, 20.0)
    token_window: float = 12.0
    """tokens: how long is measured while all are open."""
    depths: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    throttled: tuple[int, ...] = (10, 1_000, 10_000, 100_000)
    """growth: jobs that wait before gates."""
    maintained: tuple[int, ...] = (10, 1_000, 10_000, 100_000)
    """maintenance: running jobs, and deltas of one of them."""
    fair_slots: int = 16
    fair_rounds: int = 100
    """fairness: job times over which starts are counted."""
    fair_jobs: int = 20_000
    fair_organizations: tuple[int, ...] = (1, 100, 10_000)
    script_calls: int = 30
    """growth, maintenance: calls of a script of which the longest counts."""


QUICK: Final = Sizes(
    repetitions=1, jobs=200, quiet_wait=0.0, http_seconds=0.3, paced_jobs=10, rate=100.0, idle_warm_up=0.5,
    idle_seconds=1.0, frugal_seconds=1.0, memory_jobs=100, streams=20, stream_jobs=10, settle=0.2, token_streams=20,
    token_rates=(20.0,), token_window=1.0, depths=(100, 500), throttled=(10, 100), maintained=(10, 100),
    script_calls=2, fair_rounds=10, fair_jobs=100, fair_organizations=(1, 10),
)  # fmt: skip
"""Sizes that only show that everything runs."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag per field of `Sizes`, without a default of its own."""
    for field in msgspec.structs.fields(Sizes):
        parser.add_argument(f"--{field.name.replace('_', '-')}", dest=field.name)


def from_flags(flags: argparse.Namespace) -> Sizes:
    """The sizes a command line asks for. SystemExit with one line when a value is malformed."""
    values = msgspec.structs.asdict(QUICK if flags.quick else Sizes())
    given = {name: text for name in values if (text := getattr(flags, name)) is not None}
    try:
        return msgspec.convert(
            values
            | {name: text.split(",") if isinstance(values[name], tuple) else text for name, text in given.items()},
            Sizes,
            strict=False,
        )
    except msgspec.ValidationError as error:
        raise SystemExit(f"bench: {error}") from None
