"""The main job from the outside: the guide's calls, the stream, and the status."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import StackMaker

pytestmark = pytest.mark.timeout(300)


async def test_a_job_streams_its_text_and_the_status_has_the_same(stack: StackMaker) -> None:
    """A submitted job streams queued, processing, deltas, completed; job-status then has the text of the deltas."""
    async with stack(DEMO_TOKENS_PER_SECOND="200") as running:
        reading = await running.follow(await running.submit(1))
        status = await running.end(reading.job_id)
    kinds = reading.kinds
    assert reading.problems() == []
    assert kinds[:3] == ["queued", "processing", "delta"]
    assert kinds[-1] == "completed"
    assert kinds.count("delta") >= 3
    assert status["result"] == "".join(data["text"] for _, kind, data in reading.events if kind == "delta")


async def test_statistics_have_the_shape_of_the_guide(stack: StackMaker) -> None:
    """An idle queue gives exactly the answer of the guide, with more keys at most."""
    async with stack() as running:
        body = (await running.client.get(f"{running.gateway.url}/api/ai/queue-stats")).json()
    assert body["success"] is True
    assert body["stats"].items() >= {"queued": 0, "processing": 0, "completed": 0, "failed": 0}.items()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["timestamp"])


@pytest.mark.skipif(shutil.which("node") is None, reason="the guide's JavaScript needs node")
async def test_the_snippets_of_the_guide_run_unchanged(stack: StackMaker) -> None:
    """Both front-end snippets work: an id like the guide's comes back, then the finished text."""
    async with stack() as running:
        script = str(Path(__file__).with_name("guide.mjs"))
        process = await asyncio.create_subprocess_exec(
            "node", script, running.gateway.url, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
    assert process.returncode == 0
    answer = json.loads(output)
    assert re.fullmatch(r"ai-job-\d{13}-[0-9a-z]{9}", answer["jobId"])
    assert len(answer["result"].split()) >= 10
