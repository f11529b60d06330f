"""Vercel's AI SDK in Chromium: its hooks with the package's transport and fetch, before the real services."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import pairwise
from typing import Final

import pytest
import pytest_asyncio

from tests.browser.service import StaticFiles, serving_files
from tests.browser.tab import FIELDS, Tab, bundle
from tests.e2e.conftest import StackMaker
from tests.e2e.test_providers import OPENAI, settings
from tests.support.chromium import Chromium
from tests.support.llm import LlmServer, llm_server_at
from tests.support.llm_behaviour import Behaviour
from tests.support.node import needs_node

pytestmark = [needs_node, pytest.mark.slow, pytest.mark.timeout(300)]

SOON_S: Final = 8
"""Less than the time after which the gateway cancels a completion that is no longer read."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pages(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, type[StaticFiles]]]:
    """Address of the bundled pages, and the handler whose `config` is served beside them."""
    folder = tmp_path_factory.mktemp("pages")
    await bundle(folder)
    with serving_files(folder) as served:
        yield served


TabMaker = Callable[..., AbstractAsyncContextManager[Tab]]


@pytest_asyncio.fixture(loop_scope="session")
async def provider(llm_port: int) -> AsyncIterator[LlmServer]:
    """A provider whose text is endless, as if just started."""
    async with llm_server_at(llm_port) as server:
        await server.behave(Behaviour(endless=True, gap_s=0.02))
        yield server


@pytest.fixture
def tab(stack: StackMaker, pages: tuple[str, type[StaticFiles]], chromium: Chromium) -> TabMaker:
    """`async with tab("chat.html?strict", DEMO_TOKENS_PER_SECOND="30") as opened`: nothing is asked yet."""
    origin, handler = pages

    @asynccontextmanager
    async def make(address: str, workers: int = 1, **environment: str) -> AsyncIterator[Tab]:
        cors = {"CORS_ALLOWED_ORIGINS": origin}
        async with stack(workers, **cors, **environment) as running, chromium.page() as page:
            config = {"api": running.gateway.url, "events": running.notifier.url, "defaults": FIELDS}
            handler.config = f"window.PRESSWORK = {json.dumps(config)};"
            await page.open(f"{origin}/{address}")
            yield Tab(page, running)
            assert page.complaints == []

    return make


async def _disconnected(provider: LlmServer, seconds: float = 30) -> None:
    """Wait until the provider sees its one call end, and not by itself."""
    async with asyncio.timeout(seconds):
        while not (calls := await provider.calls()) or calls[0].end is None:
            await asyncio.sleep(0.02)
    assert [call.end for call in calls] == ["disconnected"]


def _grew(texts: list[str]) -> bool:
    """Whether each text is the one before and more."""
    return len(texts) > 3 and _resets(texts) == []


def _resets(texts: list[str]) -> list[str]:
    """The texts that do not go on with the one before."""
    return [after for before, after in pairwise(texts) if not after.startswith(before)]


@pytest.mark.parametrize("address", ["chat.html", "chat.html?strict", "chat-before.html?strict"])
async def test_a_chat_shows_the_text_as_it_grows(tab: TabMaker, address: str) -> None:
    """Also under StrictMode, which mounts the component twice, and with the release before: one message, one job."""
    async with tab(address, DEMO_TOKENS_PER_SECOND="40") as opened:
        await opened.begin()
        text = await opened.ready()
        assert text == (await opened.job())["result"]
        assert _grew(await opened.texts())
        assert await opened.messages() == ["user", "assistant"]


@pytest.mark.parametrize("address", ["chat.html", "chat.html?strict", "chat-before.html?strict"])
async def test_a_reload_in_the_middle_goes_on(tab: TabMaker, address: str) -> None:
    """The same job, read from its start; under StrictMode the first reader is aborted, which cancels nothing."""
    async with tab(address, DEMO_TOKENS_PER_SECOND="20") as opened:
        before = await opened.begin()
        await opened.page.reload()
        assert (await opened.some(len(before) + 1)).startswith(before)
        text = await opened.ready()
        job = await opened.job()
        assert (job["status"], text) == ("completed", job["result"])
        assert await opened.messages() == ["user", "assistant"]

        await opened.page.reload()
        assert await opened.ready() == text


@pytest.mark.parametrize("address", ["chat.html", "chat-before.html"])
async def test_a_lost_attempt_is_not_shown(tab: TabMaker, address: str) -> None:
    """Its worker was killed: its text goes, and the text of the next attempt is there once."""
    async with tab(address, workers=2, LEASE_SECONDS="2", DEMO_TOKENS_PER_SECOND="20") as opened:
        await opened.begin()
        await (await opened.stack.busy_worker()).kill()
        text = await opened.ready(120)
        job = await opened.job()
        assert (job["status"], text) == ("completed", job["result"])
        texts = await opened.texts()
    assert _resets(texts) == [""]


@pytest.mark.parametrize("address", ["chat.html?strict", "completion.html?strict"])
async def test_stop_stops_the_call_of_the_provider(tab: TabMaker, provider: LlmServer, address: str) -> None:
    """The provider sees its connection closed, and the text so far stays."""
    async with tab(address, **settings(provider, PROVIDERS=OPENAI)) as opened:
        before = await opened.begin()
        await opened.page.click("#stop")
        text = await opened.ready()
        await _disconnected(provider, SOON_S)
        job = await opened.job()
        assert job["status"] == "cancelled"
        assert text.startswith(before)
        assert await opened.page.text("#error") == ""


@pytest.mark.parametrize("address", ["completion.html", "completion.html?strict", "completion.html?bare"])
async def test_a_completion_shows_the_text(tab: TabMaker, address: str) -> None:
    """With the package and without it."""
    async with tab(address, DEMO_TOKENS_PER_SECOND="40") as opened:
        await opened.begin()
        assert await opened.ready() == (await opened.job())["result"]
        assert _grew(await opened.texts())


async def test_a_closed_tab_stops_a_completion(tab: TabMaker, provider: LlmServer) -> None:
    """Nobody can come back to it."""
    async with tab("completion.html", **settings(provider, PROVIDERS=OPENAI)) as opened:
        await opened.begin()
        await opened.page.open("about:blank")
        await _disconnected(provider, SOON_S)


async def test_stop_without_the_package_stops_the_call_later(tab: TabMaker, provider: LlmServer) -> None:
    """The gateway sees that its reader left."""
    async with tab("completion.html?bare", **settings(provider, PROVIDERS=OPENAI)) as opened:
        await opened.begin()
        await opened.page.click("#stop")
        await opened.ready()
        await _disconnected(provider)


@pytest.mark.parametrize("name", ["docs-react", "docs-ai-sdk"])
async def test_components_of_the_docs(tab: TabMaker, name: str) -> None:
    """As they stand but for the address, in StrictMode, as a new project has them: they write a text."""
    async with tab(f"{name}.html", DEMO_TOKENS_PER_SECOND="40") as opened:
        await opened.page.until("window.mounted")
        await opened.page.click("button")
        await opened.page.until("document.body.textContent.length > 100")
        result = (await opened.job())["result"]
        await opened.page.until(f"document.body.textContent.includes({json.dumps(result)})")
