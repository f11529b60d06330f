"""Node and the packages of `clients/js`, for the tests of JavaScript clients."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.processes import ROOT

PACKAGE: Final = ROOT / "clients/js"
MODULES: Final = PACKAGE / "node_modules"
TSC: Final = MODULES / "typescript/bin/tsc"
NEWEST_TSC: Final = MODULES / "typescript-newest/bin/tsc"
NODE_MIN: Final = 20


def _node() -> str | None:
    """The node on this machine; None when there is none, or an older one than the client promises to run on."""
    found = shutil.which("node")
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    major = said.removeprefix("v").partition(".")[0]
    return found if major.isdigit() and int(major) >= NODE_MIN else None


NODE: Final = _node()

needs_node: Final = pytest.mark.skipif(
    NODE is None or not MODULES.exists(),
    reason="no node from 20 on, or no node_modules in clients/js: make install-dev",
)


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
