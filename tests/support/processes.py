"""Starts the real services as processes, the way an operator does, and ends them in every way an operator fears."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import httpx

from tests.support.plain import NO_TLS

PORT_SETTINGS = {"gateway": "GATEWAY_PORT", "notifier": "NOTIFIER_PORT", "worker": "WORKER_METRICS_PORT"}
ROOT = Path(__file__).resolve().parents[2]
_CHANCE = random.SystemRandom()  # not seeded by anybody: processes must not ask in step


def free_port() -> int:
    """A TCP port of loopback that was free a moment ago, and that no outgoing connection is given meanwhile.

    Systems take the ports of outgoing connections from 32,768 upwards; many tests ask at once, so chance decides.
    """
    while True:
        port = _CHANCE.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class ServiceProcess:
    """One service in a process of its own; its log is a file, its port stays the same over restarts.

    `settings`: its environment as it was given. `signalled`: it was sent a signal, ever.
    """

    def __init__(
        self, name: str, environment: Mapping[str, str], log: Path, *, command: Sequence[str] | None = None
    ) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self.settings = dict(environment)
        self.signalled = False
        self._command = list(command or [sys.executable, "-m", f"services.{name}"])
        # Nothing of this machine's environment may change the tested behaviour.
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": os.environ.get("HOME", "/"),
            PORT_SETTINGS[name]: str(self.port),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; `ready` waits until it serves."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def set(self, **settings: str) -> None:
        """Change its environment, from the next start on."""
        self._environment |= settings
        self.settings |= settings

    @property
    def started(self) -> bool:
        """Whether it was ever started."""
        return self._process is not None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    async def ready(self, seconds: float = 60.0) -> None:
        """Wait until /health/ready answers 200; RuntimeError with the log's end when it does not."""
        async with httpx.AsyncClient(verify=NO_TLS, timeout=2.0) as client:
            deadline = asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < deadline:
                if self.process.poll() is not None:
                    break
                try:
                    if (await client.get(f"{self.url}/health/ready")).status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.05)  # it starts no sooner for being asked more often
        tail = self.log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{self.name} is not ready (exit status {self.process.poll()}):\n{tail}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to a process that still runs."""
        self.signalled = True
        if self.process.poll() is None:
            self.process.send_signal(number)

    def freeze(self) -> None:
        """SIGSTOP: its connections stay open, nothing of it moves."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT after `freeze`."""
        self.signal(signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        await self.wait()

    async def wait(self, seconds: float = 30.0) -> int:
        """The exit status; subprocess.TimeoutExpired when it takes longer."""
        return await asyncio.to_thread(self.process.wait, seconds)

    async def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM, and the exit status."""
        self.signal(signal.SIGTERM)
        return await self.wait(seconds)

    async def __aenter__(self) -> ServiceProcess:
        self.start()
        try:
            await self.ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
