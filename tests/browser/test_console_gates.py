"""The page of gates in Chromium: chains, and the mix of errors."""

from __future__ import annotations

import json

import pytest

from shared.settings import StoreSettings
from shared.store.job_store import open_store
from shared.store.recent_calls import NotedCalls
from tests.browser.conftest import ConsoleMaker
from tests.browser.console import Console
from tests.browser.test_console_looks import judge
from tests.support.callers import make_key

A, B = "openai:gpt-a", "demo:demo"
HOSTILE = "openai:<img/src/onerror=alert(1)>"


async def _note(c: Console) -> None:
    async with open_store(StoreSettings(redis_url=c.stack.server.url), client_name="test") as store:
        failed = {
            NotedCalls(A, "RateLimited", (A, B)): 30, NotedCalls(A, "ProviderTimeout", (A, B)): 10,
            NotedCalls(B, "StreamBroken", (HOSTILE, B)): 1,
        }  # fmt: skip
        await store.recent_calls.note(failed, [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_chains_and_errors_are_shown(console: ConsoleMaker, scheme: str) -> None:
    """The next gate is named, errors are counted, and a name is a text, whatever is in it; axe finds nothing."""
    async with console(workers=0, PROVIDERS=f"{A},{B}") as c:
        await _note(c)
        await c.page.show_as(1440, 900, scheme)
        await c.open("#/gates")
        await c.sign_in()
        await c.shows(f"jobs go on to {B}")
        await c.shows("Rate limited")
        label = await c.page.evaluate(f"document.querySelector('[aria-label=\"{A}\"] .mix').getAttribute('aria-label')")
        assert label == "40 failed calls of the last hour: 30 rate limited, 10 provider timeout"
        await c.shows(HOSTILE)
        assert await c.page.evaluate("document.querySelectorAll('img').length") == 0
        await judge(c, f"gates {scheme}")


async def test_a_bound_key_is_shown_states_alone(console: ConsoleMaker) -> None:
    """No byte of a chain, or of an error, is sent to it."""
    async with console(workers=0, PROVIDERS=f"{A},{B}") as c:
        await _note(c)
        key = (await make_key(c.client, "alice", "admin", "jobs:read", "stats:read"))["key"]
        await c.open("#/gates")
        await c.sign_in(key)
        await c.shows(A)
        bodies = json.dumps(await c.page.evaluate("window.bodies"))
        assert "RateLimited" not in bodies
        assert "chains" not in bodies
