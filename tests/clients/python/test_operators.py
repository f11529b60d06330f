"""Commands of operators: failures by cause, redriven as many as were seen."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.clients.python.command import Command
from tests.e2e.conftest import StackMaker
from tests.support.callers import OPERATOR, TOKENS

pytestmark = pytest.mark.timeout(300)


async def test_failures_of_one_cause_are_redriven_once(stack: StackMaker, tmp_path: Path) -> None:
    """20 failed jobs are counted; another number than there are is refused; a redrive makes as many new jobs."""
    async with stack(API_TOKENS=TOKENS, DEMO_FAILURE_RATE="1", DEMO_TOKENS_PER_SECOND="0", MAX_ATTEMPTS="1") as running:
        command = Command(running.gateway.url, PRESSWORK_API_KEY=OPERATOR, PRESSWORK_ORGANIZATION="alice")
        if "does not serve" in (await command("failures")).err:
            pytest.skip("this gateway does not serve failures")
        lines = tmp_path / "jobs.jsonl"
        lines.write_text("".join(f'{{"prompt": "Write {number}"}}\n' for number in range(20)), encoding="utf-8")
        assert (await command("submit", lines)).status == 0
        async with asyncio.timeout(60):
            while json.loads((await command("watch", "--count", 1, "--json")).out)["failed"] < 20:
                pass
        groups = json.loads((await command("failures", "--group-by", "errorType", "--json")).out)
        cause = groups[0]["errorType"]
        unsure = await command("redrive", "--error-type", cause)
        wrong = await command("redrive", "--error-type", cause, "--expected", 19, "--yes")
        before = json.loads((await command("watch", "--count", 1, "--json")).out)
        redriven = await command("redrive", "--error-type", cause, "--yes", "--json")
        after = json.loads((await command("watch", "--count", 1, "--json")).out)
    assert [(group["errorType"], group["count"]) for group in groups] == [(cause, 20)]
    assert (unsure.status, "--expected 20" in unsure.err) == (2, True)
    assert (wrong.status, "20" in wrong.err) == (1, True)
    assert json.loads(redriven.out).items() >= {"state": "done", "done": 20, "count": 20}.items()
    assert sum(after[name] for name in ("queued", "processing", "failed")) - before["failed"] == 20
