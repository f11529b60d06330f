"""llmock, a stand-in for providers that others wrote, beside our own (tests/conftest.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.llm import wait_until_up
from tests.support.plain import NO_TLS
from tests.support.processes import free_port


class LLMock:
    """A running llmock. `urls` are the base URLs by vendor."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self.urls = {"openai": f"{self._url}/v1", "anthropic": f"{self._url}/anthropic"}

    def _post(self, path: str, body: dict[str, Any] | None = None) -> None:
        httpx.post(
            f"{self._url}/_llmock/{path}", json=body, timeout=10, trust_env=False, verify=NO_TLS
        ).raise_for_status()

    def script(self, *behaviors: dict[str, Any]) -> None:
        """Answer the next calls so; each counts once unless it says otherwise."""
        self._post("scenario", {"behaviors": list(behaviors)})

    def reset(self) -> None:
        """Forget scripts and calls."""
        self._post("reset")


@pytest.fixture(scope="session")
def llmock_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLMock]:
    """llmock in a process of its own, for all tests of this worker."""
    port = free_port()
    command = Path(sys.executable).with_name("llmock")
    with (tmp_path_factory.mktemp("llmock") / "log").open("wb") as log:
        process = subprocess.Popen(
            [command, "serve", "--host", "127.0.0.1", "--port", str(port)],
            env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_until_up(process, f"http://127.0.0.1:{port}/health")
        yield LLMock(port)
    finally:
        # It waits for open streams when it is asked nicely.
        process.kill()
        process.wait(10)


@pytest.fixture
def llmock(llmock_process: LLMock) -> LLMock:
    """llmock as if just started."""
    llmock_process.reset()
    return llmock_process
