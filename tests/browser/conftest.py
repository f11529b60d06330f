"""The example front end on an origin of its own, in Chromium, before the real services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.browser.console import RECORD as BODIES
from tests.browser.console import Console
from tests.browser.service import (
    COMPLETED,
    FRONTEND,
    HELLO,
    PROCESSING,
    QUEUED,
    WORLD,
    Seen,
    StaticFiles,
    accepted,
    running,
    serving_files,
    streamed,
)
from tests.e2e.conftest import StackMaker, fleet, stack
from tests.support.callers import TOKENS
from tests.support.chromium import BINARY, Chromium, Page
from tests.support.plain import NO_TLS
from tests.support.stack import Stack

__all__ = ["fleet", "stack"]

HERE = Path(__file__).parent

FLAGS = (
    # Names of foreign sites lead to this machine.
    "--host-resolver-rules=MAP *.example 127.0.0.1",
    # Of newer browsers this would stop some attempts of foreign pages before they reach us.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder in one event loop: the browser is theirs together."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


RECORD = """
window.seen = {text: [], status: []};
document.addEventListener('DOMContentLoaded', () => {
  for (const id of ['text', 'status']) {
    const element = document.getElementById(id);
    const observer = new MutationObserver(() => window.seen[id].push(element.textContent));
    observer.observe(element, {childList: true, characterData: true, subtree: true});
  }
});
"""
"""Keeps everything that the page ever showed in these two places."""


@dataclass
class Browsing:
    """A page with the front end, and the services behind it."""

    page: Page
    stack: Stack
    origin: str

    async def submit(self, prompt: str, length: str = "long") -> str:
        """Fill in the form and send it; the job's id."""
        await self.page.fill("#prompt", prompt)
        await self.page.fill("[name=length]", length)
        await self.page.click("#submit")
        return str(await self.page.until("location.hash.slice(1)"))

    async def status(self, wanted: str, *, seconds: float = 20) -> None:
        """Wait until the page shows a job of this status."""
        await self.page.until(f"document.body.dataset.status === '{wanted}'", seconds=seconds)

    async def some_text(self, letters: int) -> str:
        """Wait until so much text has arrived; it."""
        await self.page.until(f"document.getElementById('text').textContent.length >= {letters}")
        return await self.page.text("#text")

    async def seen(self, where: str = "text") -> list[str]:
        """Every text, or every status, that the page showed since it was loaded."""
        return list(await self.page.evaluate(f"window.seen.{where}"))


BrowsingMaker = Callable[..., AbstractAsyncContextManager[Browsing]]


@pytest.fixture(scope="session")
def static() -> Iterator[tuple[str, type[StaticFiles]]]:
    """Address of the front end, and the handler whose `config` it serves."""
    with serving_files(FRONTEND) as served:
        yield served


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chromium]:
    """One browser for all tests of this test worker; each has a page of its own, with nothing saved."""
    if BINARY is None:
        pytest.skip("Chromium is not installed")
    async with Chromium(tmp_path_factory.mktemp("profile"), *FLAGS) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def page(chromium: Chromium) -> AsyncIterator[Page]:
    """An empty page."""
    async with chromium.page() as opened:
        yield opened


@pytest.fixture
def browsing(stack: StackMaker, static: tuple[str, type[StaticFiles]], chromium: Chromium) -> BrowsingMaker:
    """`async with browsing(DEMO_TOKENS_PER_SECOND="30") as b`: the page is open; nothing is submitted yet."""
    origin, handler = static

    @asynccontextmanager
    async def make(workers: int = 1, **settings: str) -> AsyncIterator[Browsing]:
        cors = {"CORS_ALLOWED_ORIGINS": origin}
        async with stack(workers, **cors, **settings) as running, chromium.page() as page:
            handler.config = f"window.PRESSWORK = {{api: '{running.gateway.url}', events: '{running.notifier.url}'}};"
            await page.before_scripts(RECORD)
            await page.open(f"{origin}/")
            yield Browsing(page, running, origin)
            await asyncio.sleep(0)
            assert page.complaints == []

    return make


ConsoleMaker = Callable[..., AbstractAsyncContextManager[Console]]


@pytest.fixture
def console(stack: StackMaker, chromium: Chromium) -> ConsoleMaker:
    """`async with console(DEMO_FAILURE_RATE="1") as c`: the services run and ask for keys; no page is open."""

    @asynccontextmanager
    async def make(workers: int = 1, **settings: str) -> AsyncIterator[Console]:
        async with stack(workers, API_TOKENS=TOKENS, **settings) as running, chromium.page() as page:
            await page.before_scripts(BODIES)
            await page.show_as(1440, 900)
            await page.watch()
            async with httpx.AsyncClient(verify=NO_TLS, base_url=running.gateway.url, timeout=30) as client:
                yield Console(page, running, client)
            assert page.complaints == []

    return make


@pytest_asyncio.fixture(loop_scope="session")
async def seen(page: Page) -> AsyncIterator[Seen]:
    """The page is open, nothing is submitted yet."""
    with running() as service:
        service.answers = {
            "submit": [accepted()],
            "events": [streamed(QUEUED, PROCESSING, HELLO, WORLD, COMPLETED)],
        }
        await page.open(f"{service.origin}/")
        yield Seen(page, service)
        assert page.complaints == []
