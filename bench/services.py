"""Starts the real services, one process each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import msgspec

from bench.processes import free_port, running, wait_for_http

_PORTS: Final = {"gateway": "GATEWAY_PORT", "notifier": "NOTIFIER_PORT", "worker": "WORKER_METRICS_PORT"}
WORKER: Final = [sys.executable, "-m", "bench.worker"]
"""The real worker with one more provider, the no-op of bench/worker.py."""


class Service(msgspec.Struct, frozen=True):
    """A running service: its process, and where it listens on loopback."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self.port}"


def settings_of(name: str, redis_url: str, port: int, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a service on a port of its own, with logs of warnings only."""
    return {"REDIS_URL": redis_url, "LOG_LEVEL": "WARNING", _PORTS[name]: str(port), **extra}


@contextmanager
def service(name: str, redis_url: str, **extra: str) -> Iterator[Service]:
    """A service for the length of the block, from the moment it is ready. `extra`: more of its environment."""
    port = free_port()
    command = WORKER if name == "worker" else [sys.executable, "-m", f"services.{name}"]
    with running(command, settings_of(name, redis_url, port, extra)) as process:
        started = Service(process, port)
        wait_for_http(f"{started.url}/health/ready", process)
        yield started
