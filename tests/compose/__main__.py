"""`make compose-smoke`: exit status 0 when every step held."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.compose.engine import DockerFailed, docker
from tests.compose.smoke import Smoke


async def main() -> int:
    """Run it; 1 with the reason when a step did not hold, 2 without an engine."""
    try:
        docker("version")
    except (DockerFailed, FileNotFoundError):
        print("compose-smoke: no Docker engine answers", file=sys.stderr)
        return 2
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    timeout = httpx.Timeout(30.0)
    with tempfile.TemporaryDirectory(prefix="presswork-smoke-") as folder:
        async with httpx.AsyncClient(timeout=timeout, limits=httpx.Limits(max_connections=200)) as client:
            await Smoke(Path(folder), client, say).run()
    say("compose-smoke held")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
