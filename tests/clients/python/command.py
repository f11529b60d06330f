"""The command line as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple

from tests.support.processes import ROOT


class Ended(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str


class Command:
    """Runs `presswork` with an environment of its own: nothing of this machine is in it."""

    def __init__(self, url: str, **environment: str) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(ROOT / "clients" / "python" / "src"), *sys.path]),
            "HOME": "/nonexistent",
            "PRESSWORK_URL": url,
            "COLUMNS": "200",
            **environment,
        }

    async def __call__(
        self, *arguments: object, stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> Ended:
        """Run a command to its end."""
        process = await self.start(*arguments, environment=environment)
        async with asyncio.timeout(90):
            out, err = await process.communicate(stdin.encode())
        return Ended(process.returncode or 0, out.decode(), err.decode())

    async def start(
        self, *arguments: object, environment: Mapping[str, str] | None = None, stdout: int = asyncio.subprocess.PIPE
    ) -> asyncio.subprocess.Process:
        """Start a command. `stdout`: a file for its output; its other ends are pipes."""
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "presswork_client", *map(str, arguments), stdin=asyncio.subprocess.PIPE,
            stdout=stdout, stderr=asyncio.subprocess.PIPE,
            env={**self.environment, **(environment or {})},
        )  # fmt: skip


async def interrupted(process: asyncio.subprocess.Process) -> Ended:
    """Ctrl-C, and the end."""
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


def on_a_terminal(command: Command, *arguments: str) -> str:
    """The output of a command on a pseudo-terminal."""
    import pty  # noqa: PLC0415 - not on every system

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "presswork_client", *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**command.environment, "TERM": "xterm"},
    ):  # fmt: skip
        os.close(theirs)
        shown = b""
        # Linux answers the end of a terminal with an error.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 1 << 16):
                shown += piece
    os.close(ours)
    return shown.decode(errors="replace")
