"""The Next.js example, built and served, in Chromium: its server holds the key, its page streams with tickets."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio

from shared.http.auth import hash_token
from tests.e2e.conftest import StackMaker
from tests.support.chromium import Chromium, Page
from tests.support.node import NODE, PACKAGE, run
from tests.support.plain import NO_TLS
from tests.support.processes import ROOT, free_port
from tests.support.stack import Stack

EXAMPLE: Final = ROOT / "examples/nextjs"
MODULES: Final = EXAMPLE / "node_modules"
NEXT: Final = MODULES / "next/dist/bin/next"
KEY: Final = "key-of-the-product"
SILENT: Final = {"NEXT_TELEMETRY_DISABLED": "1", "CI": "1"}
STATUS: Final = "document.querySelector('[role=status]').textContent"

pytestmark = [
    pytest.mark.skipif(NODE is None or not MODULES.exists(), reason="node, or node_modules of it, is not here"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def built(testrun_uid: str) -> None:
    """The example, built with the present client: npm copied the one of its last install. The test workers of a run
    build it once, for no two can at the same time."""
    done = EXAMPLE / ".next/testrun"
    with (MODULES / ".testrun.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists() and done.read_text() == testrun_uid:
            return
        shutil.copytree(PACKAGE / "src", MODULES / "@presswork/client/src", dirs_exist_ok=True)
        shutil.copy(PACKAGE / "package.json", MODULES / "@presswork/client")
        await run("node", NEXT, "build", folder=EXAMPLE, seconds=250, **SILENT)
        done.write_text(testrun_uid)


@asynccontextmanager
async def _served(port: int, api: str) -> AsyncIterator[str]:
    """The example's origin. `api`: the gateway's address."""
    environment = {**os.environ, **SILENT, "PRESSWORK_URL": api, "PRESSWORK_KEY": KEY}
    command = ["node", str(NEXT), "start", "--hostname", "127.0.0.1", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=EXAMPLE, env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await _ready(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def _ready(origin: str) -> None:
    async with httpx.AsyncClient(verify=NO_TLS) as client, asyncio.timeout(60):
        while True:
            try:
                await client.get(origin)
                return
            except httpx.TransportError:
                await asyncio.sleep(0.1)


async def _open(page: Page, url: str) -> None:
    """Go to a page, and wait until React has taken its form over: before, a click sends it as browsers do."""
    await page.open(url)
    await page.until("Object.keys(document.querySelector('form')).some((name) => name.startsWith('__reactProps'))")


async def _until(page: Page, status: str) -> None:
    await page.until(f"{STATUS} === '{status}'", seconds=40)


async def _view(running: Stack, job_id: str) -> dict[str, Any]:
    """A job, as the key's holder sees it."""
    answer = await running.client.get(
        f"{running.gateway.url}/api/ai/job-status",
        params={"jobId": job_id, "wait": 20},
        headers={"Authorization": f"Bearer {KEY}"},
    )
    return dict(answer.json())


def _settings(port: int) -> dict[str, str]:
    """Of services whose pages are at this port."""
    return {
        "API_TOKENS": f"{hash_token(KEY)} org-789",
        "CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port}",
        "DEMO_TOKENS_PER_SECOND": "20",
    }


@pytest.mark.usefixtures("built")
async def test_the_page_writes_resumes_and_cancels(stack: StackMaker, chromium: Chromium) -> None:
    """The text grows; a reload in the middle goes on with it; a cancel keeps what came; the key is in no answer."""
    port = free_port()
    async with (
        stack(**_settings(port)) as running,
        _served(port, running.gateway.url) as origin,
        chromium.page() as page,
    ):
        await _open(page, origin)
        await page.click("button")
        await page.until("document.getElementById('text').textContent.length > 30", seconds=40)
        before = await page.text("#text")
        await page.reload()
        await _until(page, "completed")
        kept = json.loads(str(await page.evaluate("sessionStorage.getItem('writer')")))
        view = await _view(running, kept["jobId"])
        assert await page.text("#text") == view["result"]
        assert view["result"].startswith(before)
        assert view["userId"] == "guest"

        await page.click("button")
        await page.until("document.getElementById('text').textContent.length > 10", seconds=40)
        await page.click("button[type=button]")
        await _until(page, "cancelled")
        assert len(await page.text("#text")) > 10
        assert KEY not in json.dumps(kept)


ANSWER: Final = "([...document.querySelectorAll('.assistant')].at(-1)?.textContent ?? '')"


@pytest.mark.usefixtures("built")
async def test_the_chat_writes_resumes_and_stops(stack: StackMaker, chromium: Chromium) -> None:
    """With the AI SDK and the same route: a reload in the middle goes on, a second message follows, Stop cancels."""
    port = free_port()
    async with (
        stack(**_settings(port)) as running,
        _served(port, running.gateway.url) as origin,
        chromium.page() as page,
    ):
        await _open(page, f"{origin}/chat")
        await page.click("button")
        before = await page.until(f"{ANSWER}.length > 30 && {ANSWER}", seconds=40)
        await page.reload()
        await page.until(f"{ANSWER}.length > {len(before)}", seconds=40)
        await _until(page, "ready")
        messages = json.loads(await page.evaluate("sessionStorage.getItem('chat-messages')"))
        assert [message["role"] for message in messages] == ["user", "assistant"]
        view = await _view(running, messages[1]["id"])
        assert (await page.evaluate(ANSWER), view["userId"]) == (view["result"], "guest")

        await page.click("button")
        await page.until("document.querySelectorAll('.assistant').length === 2", seconds=40)
        await page.until(f"{ANSWER}.length > 10", seconds=40)
        await page.click("button[type=button]")
        await _until(page, "ready")
        (_, _, asked, answered) = json.loads(await page.evaluate("sessionStorage.getItem('chat-messages')"))
        view = await _view(running, answered["id"])
        assert (asked["role"], view["status"], await page.evaluate(ANSWER)) == ("user", "cancelled", view["result"])
        assert KEY not in await page.evaluate("JSON.stringify(sessionStorage)")
