"""Node and the packages of `clients/js`, for the tests of JavaScript clients."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.processes import ROOT

PACKAGE: Final = ROOT / "clients/js"
MODULES: Final = PACKAGE / "node_modules"
TSC: Final = MODULES / "typescript/bin/tsc"
NEWEST_TSC: Final = MODULES / "typescript-newest/bin/tsc"
NODE_MIN: Final = (20, 0)
LINE_MAX: Final = 1 << 20
"""Bytes of a line that a script may print."""


def _version(node: str | Path | None) -> tuple[int, int]:
    """The version of a node; zeros when there is none, or it does not run."""
    if node is None:
        return (0, 0)
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return (0, 0)
    numbers = re.match(r"v(\d+)\.(\d+)\.", said)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


VERSION: Final = _version(shutil.which("node"))
NODE: Final = shutil.which("node") if VERSION >= NODE_MIN else None
"""None when there is none, or an older one than the client promises to run on."""

_NODE_22: Final = next(ROOT.glob(".node22/node_modules/node-*/bin/node"), None)
VERSION_22: Final = _version(_NODE_22)
OWN_PATH: Final = os.environ["PATH"]
PATH_22: Final = f"{_NODE_22.parent}{os.pathsep}{OWN_PATH}" if _NODE_22 else OWN_PATH
"""PATH of a command that is to run on Node 22, which `make install-dev` brings."""

needs_node: Final = pytest.mark.skipif(
    NODE is None or not MODULES.exists(),
    reason="no node from 20 on, or no node_modules in clients/js: make install-dev",
)

on_both: Final = pytest.mark.parametrize(
    "path",
    [
        pytest.param(OWN_PATH, id="node"),
        pytest.param(
            PATH_22,
            id="node-22",
            marks=pytest.mark.skipif(VERSION_22 == (0, 0), reason="no Node 22 in .node22: make install-dev"),
        ),
    ],
)
"""On the machine's own node, and on Node 22: `path` is the PATH of its commands."""


async def run(*command: str | Path, folder: Path, seconds: float = 100, **environment: str) -> str:
    """The output of a command; AssertionError with all that it said when it fails or takes longer."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=folder,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        output, _ = await process.communicate()
        raise AssertionError(f"no end within {seconds} s: {output.decode(errors='replace')[-6000:]}") from None
    text = output.decode(errors="replace")
    assert process.returncode == 0, text[-6000:]
    return text


def last_json(output: str) -> dict[str, Any]:
    """The last line, which is JSON."""
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found


class Script:
    """A running script that prints lines of JSON. `said`: its lines so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[dict[str, Any]] = []

    async def lines(self, count: int | None = None) -> list[dict[str, Any]]:
        """Wait until it has said so much (None: all that it has to say, without an error); its lines."""
        assert self._process.stdout is not None
        async with asyncio.timeout(120):
            while count is None or len(self.said) < count:
                line = await self._process.stdout.readline()
                if not line:
                    _, complaint = await self._process.communicate()
                    assert (self._process.returncode, count) == (0, None), complaint.decode(errors="replace")[-6000:]
                    break
                self.said.append(json.loads(line))
        return self.said


@asynccontextmanager
async def running_script(path: Path, *arguments: str, **environment: str) -> AsyncIterator[Script]:
    """A script of Node for the length of the block."""
    process = await asyncio.create_subprocess_exec(
        "node", path, *arguments,
        env={**os.environ, **environment}, limit=LINE_MAX,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Script(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
