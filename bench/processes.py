"""Starts measured code in processes of its own and always ends them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
PEER_PYTHON: Final = ROOT / ".venv-bench" / "bin" / "python"
"""The peers live in an environment of their own (`make bench` makes it): their pins are not ours."""

PEER_MODULES: Final = ROOT / ".venv-bench" / "node_modules"
"""Those of Node's peers, which are there where npm is."""

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 12.0


def free_port() -> int:
    """A TCP port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    # Nothing of this machine's environment may change the measurement.
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": str(ROOT), **extra}


def wait_until(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS, pause: float = 0.005) -> None:
    """Return when the condition holds; RuntimeError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:g} s")
        time.sleep(pause)


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the length of the block: SIGTERM at its end, SIGKILL if that does not help. Its output is shown
    when the block fails."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=_environment(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield process
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-3000:])
            raise
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM and wait; SIGKILL when it takes too long."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def answer_of(command: Sequence[str], environment: Mapping[str, str], seconds: float = 300.0) -> dict[str, Any]:
    """Run a process to its end and read the JSON object of its last line."""
    done = subprocess.run(
        command, cwd=ROOT, env=_environment(environment), capture_output=True, timeout=seconds, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[1:4]} failed:\n{done.stderr.decode(errors='replace')[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def wait_for_http(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return when `url` answers 200; RuntimeError when it does not in time or the process ends."""

    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the process ended with status {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - an address of loopback
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    wait_until(answers, url, pause=0.05)
