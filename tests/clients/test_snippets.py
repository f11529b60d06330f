"""The code in docs/clients.md, run as it stands but for the address; its components are in tests/browser."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.conftest import StackMaker
from tests.support.node import MODULES, PACKAGE, needs_node, run
from tests.support.processes import ROOT
from tests.support.stack import Stack

SETTINGS: Final = {"DEMO_TOKENS_PER_SECOND": "0"}
PYTHON: Final = ROOT / "clients/python/src"


def code(heading: str, language: str) -> str:
    """The code of a section."""
    text = (ROOT / "docs/clients.md").read_text()
    (section,) = [part for part in text.split("\n## ") if part.startswith(f"{heading}\n")]
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return str(code)


def _snippet(heading: str, language: str, running: Stack) -> str:
    return code(heading, language).replace("http://127.0.0.1:8000", running.gateway.url)


def install(folder: Path) -> None:
    """Put the package beside a program, and the others that programs use."""
    modules = folder / "node_modules"
    (modules / "@presswork").mkdir(parents=True)
    (modules / "@presswork/client").symlink_to(PACKAGE)
    for name in ("openai", "react", "react-dom", "@ai-sdk"):
        (modules / name).symlink_to(MODULES / name)


async def _last_result(running: Stack, organization: str = "org-789") -> str:
    """The result of the one job."""
    listed = await running.client.get(f"{running.gateway.url}/api/ai/jobs", params={"organizationId": organization})
    (job,) = listed.json()["jobs"]
    return str((await running.end(job["jobId"]))["result"])


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed on this machine")
async def test_curl(stack: StackMaker, tmp_path: Path) -> None:
    """Its stream ends with the result."""
    async with stack(**SETTINGS) as running:
        said = await run("bash", "-c", _snippet("curl", "bash", running), folder=tmp_path)
        assert f'"result":{json.dumps(await _last_result(running), ensure_ascii=False)}' in said


@needs_node
async def test_javascript(stack: StackMaker, tmp_path: Path) -> None:
    """It shows the whole text at the end."""
    async with stack(**SETTINGS) as running:
        install(tmp_path)
        (tmp_path / "use.mjs").write_text(_snippet("JavaScript and TypeScript", "javascript", running))
        said = await run("node", "use.mjs", folder=tmp_path)
        assert said.strip().endswith(await _last_result(running))


@needs_node
async def test_openai_for_node(stack: StackMaker, tmp_path: Path) -> None:
    """It prints the whole text."""
    async with stack(**SETTINGS) as running:
        install(tmp_path)
        (tmp_path / "use.mjs").write_text(_snippet("OpenAI's SDK", "javascript", running))
        said = await run("node", "use.mjs", folder=tmp_path)
        assert said == await _last_result(running, "default")


async def test_openai_for_python(stack: StackMaker, tmp_path: Path) -> None:
    """It prints the whole text."""
    async with stack(**SETTINGS) as running:
        (tmp_path / "use.py").write_text(_snippet("OpenAI's SDK", "python", running))
        said = await run(sys.executable, "use.py", folder=tmp_path)
        assert said == await _last_result(running, "default")


@pytest.mark.skipif(not PYTHON.exists(), reason="the Python client is not here")
async def test_python(stack: StackMaker, tmp_path: Path) -> None:
    """The pieces that it prints add up to the result."""
    async with stack(**SETTINGS) as running:
        (tmp_path / "use.py").write_text(_snippet("Python", "python", running))
        said = await run(
            sys.executable, "use.py", folder=tmp_path,
            PYTHONPATH=str(PYTHON), PRESSWORK_ORGANIZATION="org-789", PRESSWORK_CONFIG=str(tmp_path / "none"),
        )  # fmt: skip
        assert said == await _last_result(running)
