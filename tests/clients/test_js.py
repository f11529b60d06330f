"""The JavaScript client before the real services: its own tests, and services that die under it."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import pytest

from shared.http.auth import hash_token
from tests.e2e.conftest import StackMaker
from tests.support.node import PACKAGE, Script, needs_node, on_both, run, running_script
from tests.support.stack import Stack

pytestmark = [needs_node, pytest.mark.timeout(300)]

KEY: Final = "key-of-the-product"
SPEED: Final = {"DEMO_TOKENS_PER_SECOND": "100"}
JOBS: Final = 12


async def _node_tests(folder: str, **environment: str) -> None:
    files = sorted((PACKAGE / "tests" / folder).glob("*.test.js"))
    assert files
    await run("node", "--test", "--test-concurrency=3", *files, folder=PACKAGE, seconds=280, **environment)


@on_both
async def test_its_pure_parts(path: str) -> None:
    """Events are parsed as eventsource-parser parses them, and become text that is whole."""
    await _node_tests("unit", PATH=path)


@pytest.mark.slow
@on_both
async def test_its_calls_streams_and_hooks(stack: StackMaker, path: str) -> None:
    """Against a gateway, a notifier and a worker: 50 cuts, blocked streams, reloads, aborts, errors, React."""
    async with stack(**SPEED) as running:
        await _node_tests("services", PRESSWORK_URL=running.gateway.url, PATH=path)


@on_both
async def test_a_page_without_a_key(stack: StackMaker, path: str) -> None:
    """A product's server holds the key; its pages stream with tickets, and reach the jobs of their own user alone."""
    async with stack(API_TOKENS=f"{hash_token(KEY)} org-789", **SPEED) as running:
        await _node_tests("keys", PRESSWORK_URL=running.gateway.url, PRESSWORK_KEY=KEY, PATH=path)


def _following(running: Stack, jobs: int) -> AbstractAsyncContextManager[Script]:
    """The script that follows jobs."""
    return running_script(PACKAGE / "tests/support/follow_many.js", str(jobs), PRESSWORK_URL=running.gateway.url)


async def _ends_well(running: Stack, following: Script) -> list[dict[str, Any]]:
    """Wait for the ends of all jobs; each came once, with the text that the service has."""
    await following.lines(2 * JOBS)
    ends = [line for line in following.said if "end" in line]
    jobs = await running.front.ends([end["id"] for end in ends])
    assert len(jobs) == JOBS
    for end in ends:
        assert (end["end"], end["ends"]) == ("completed", 1)
        assert end["text"] == jobs[end["id"]]["result"]
    return ends


@pytest.mark.slow
async def test_services_that_restart_under_it(stack: StackMaker) -> None:
    """Redis, gateway and notifier are killed in mid-stream and come back: nothing is lost, and nothing comes twice."""
    async with stack(DEMO_TOKENS_PER_SECOND="15") as running, _following(running, JOBS) as following:
        await following.lines(JOBS)
        await running.until_processing(JOBS)
        for service in (running.gateway, running.notifier):
            await service.kill()
        running.server.kill()
        running.server.start()
        for service in (running.gateway, running.notifier):
            service.start()
        await running.gateway.ready()
        await _ends_well(running, following)


@pytest.mark.slow
async def test_a_worker_that_dies_under_it(stack: StackMaker) -> None:
    """The text of the lost attempt is void, that of the next one is shown: whole and once."""
    settings = {"LEASE_SECONDS": "2", "DEMO_TOKENS_PER_SECOND": "30"}
    async with stack(workers=2, **settings) as running, _following(running, JOBS) as following:
        await following.lines(JOBS)
        await running.until_processing(JOBS)
        await asyncio.sleep(1)  # some text is shown
        await (await running.busy_worker()).kill()
        ends = await _ends_well(running, following)
    assert sum(end["resets"] for end in ends) > 0
