"""The lines of the README, as they stand there."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import textwrap
from typing import Final

import pytest

from tests.clients.python.test_package import FOLDER
from tests.e2e.conftest import StackMaker

pytestmark = pytest.mark.timeout(300)

SNIPPETS: Final = re.findall(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=("sync", "async"))
async def test_the_lines_run_unchanged(stack: StackMaker, snippet: str) -> None:
    """Without an argument they find the service, and print the whole text."""
    script = snippet
    if "async with" in snippet:
        script = f"import asyncio\nasync def main():\n{textwrap.indent(snippet, '    ')}\nasyncio.run(main())\n"
    async with stack(DEMO_TOKENS_PER_SECOND="200") as running:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE,
            env={
                "PRESSWORK_URL": running.gateway.url,
                "PYTHONPATH": os.pathsep.join([str(FOLDER / "src"), *sys.path]),
                "PYTHONUTF8": "1",
            },
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
        listed = await running.client.get(f"{running.gateway.url}/api/ai/jobs", params={"organizationId": "default"})
        view = await running.end(listed.json()["jobs"][0]["jobId"])
    assert (process.returncode, out.decode()) == (0, view["result"])
