"""`examples/python`, as it stands: the script, and the FastAPI routes as a process of their own."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.clients.python.test_package import FOLDER
from tests.e2e.conftest import StackMaker
from tests.support.callers import TOKENS, make_key
from tests.support.plain import NO_TLS
from tests.support.processes import ROOT, free_port
from tests.support.stack import Stack

EXAMPLE: Final = ROOT / "examples/python"
BRIEF: Final = {"product": "a travel mug"}

pytestmark = pytest.mark.timeout(300)
needs_fastapi = pytest.mark.skipif(
    importlib.util.find_spec("fastapi") is None, reason="FastAPI is not here: it comes with the suite's llmock"
)


async def _environment(running: Stack) -> dict[str, str]:
    """The environment of a back end: an address, and a key of one organisation."""
    async with httpx.AsyncClient(verify=NO_TLS, base_url=running.gateway.url, timeout=20) as client:
        key = (await make_key(client, "bakery"))["key"]
    found = os.pathsep.join([str(FOLDER / "src"), *sys.path])
    return {"PRESSWORK_URL": running.gateway.url, "PRESSWORK_API_KEY": key, "PYTHONPATH": found, "PYTHONUTF8": "1"}


@asynccontextmanager
async def _served(environment: dict[str, str], log: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the routes."""
    port = free_port()
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), cwd=EXAMPLE, env=environment,
            stdout=out, stderr=out,
        )  # fmt: skip
    try:
        async with httpx.AsyncClient(verify=NO_TLS, base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            async with asyncio.timeout(60):
                while True:
                    assert process.returncode is None, log
                    try:
                        await client.get("/openapi.json")
                        break
                    except httpx.TransportError:
                        await asyncio.sleep(0.05)
            yield client
    finally:
        process.terminate()
        await process.wait()


async def test_the_script_shows_the_text_and_the_headlines(stack: StackMaker) -> None:
    """The whole post, and three headlines of a job that ran beside it."""
    async with stack(API_TOKENS=TOKENS, DEMO_TOKENS_PER_SECOND="200") as running:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(EXAMPLE / "write.py"), BRIEF["product"], env=await _environment(running),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    post, headlines = out.decode().split("\n\n")
    assert post.endswith("What would your team do with the time it gets back?")
    assert len(re.findall(r"^\* \w", headlines, re.MULTILINE)) == 3


@needs_fastapi
async def test_the_routes_write_read_and_answer(stack: StackMaker, tmp_path: Path) -> None:
    """The browser streams with the address that it got and no key; nobody reads the posts of others; headlines fit the
    model."""
    async with stack(API_TOKENS=TOKENS, DEMO_TOKENS_PER_SECOND="200") as running:
        async with _served(await _environment(running), tmp_path / "app.log") as app:
            jane, john = {"x-user": "jane"}, {"x-user": "john"}
            begun = await app.post("/posts", json=BRIEF, headers=jane)
            post = begun.json()
            stream = (await running.client.get(post["events"])).text
            read = (await app.get(f"/posts/{post['id']}", headers=jane)).json()
            hidden = await app.get(f"/posts/{post['id']}", headers=john)
            missing = await app.get("/posts/ai-job-1737465123456-0bc123def", headers=jane)
            headlines = await app.post("/headlines", json=BRIEF, headers=jane)
            nobody = await app.post("/posts", json=BRIEF)
        other = await running.client.get(post["events"].partition("?")[0], params={"jobId": post["id"]})

    ended = json.loads(re.findall(r"^event: completed\ndata: (.*)$", stream, re.MULTILINE)[0])
    assert begun.status_code == 202
    assert (read["status"], read["text"]) == ("completed", ended["result"])
    assert (hidden.status_code, missing.status_code, nobody.status_code, other.status_code) == (404, 404, 422, 401)
    assert (headlines.status_code, len(headlines.json()["headlines"])) == (200, 3)


@needs_fastapi
async def test_a_result_that_does_not_fit_is_the_back_ends_answer_to_give(stack: StackMaker, tmp_path: Path) -> None:
    """A failed job is an error of the route, not a body that its model would refuse."""
    settings = {"API_TOKENS": TOKENS, "DEMO_TOKENS_PER_SECOND": "0", "DEMO_MISMATCHES": "2"}
    async with stack(**settings) as running, _served(await _environment(running), tmp_path / "app.log") as app:
        answer = await app.post("/headlines", json=BRIEF, headers={"x-user": "jane"})
    assert (answer.status_code, answer.json()) == (502, {"detail": "no headlines came: try again"})
