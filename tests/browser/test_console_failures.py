"""The page of failures in Chromium: what failed is drawn over time, as the filter says."""

from __future__ import annotations

import json

from tests.browser.conftest import ConsoleMaker
from tests.browser.console import Console
from tests.support.callers import make_key

_DRAWN = "[...document.querySelectorAll('.chart canvas')].some((one) => one.width > 0)"
_LABEL = "(document.querySelector('.chart')?.getAttribute('aria-label') ?? '')"


async def _peak(c: Console, jobs: int) -> None:
    """Wait until the curve is drawn; a screen reader gets its highest column, which has so many jobs at most."""
    await c.page.until(f"{_DRAWN} && {_LABEL}.startsWith('Failed jobs over time')")
    most = int(str(await c.page.evaluate(f"{_LABEL}.match(/the most, (\\d+),/)[1]")))
    assert jobs / 4 <= most <= jobs


async def test_failures_are_drawn_over_time(console: ConsoleMaker) -> None:
    """A curve of all that the page shows, and a small one of each cause; another filter, another curve."""
    settings = {"DEMO_TOKENS_PER_SECOND": "0", "DEMO_FIRST_TOKEN_MS": "0"}
    async with console(DEMO_FAILURE_RATE="1", **settings) as c:
        await c.open_failures()
        await _peak(c, 50)
        assert await c.page.evaluate("document.querySelectorAll('.group .spark').length") == 2
        await c.visit("failures?since=24h")
        await c.shows("a column is 30 minutes")
        await c.visit("failures?since=1h&organizationId=bob")
        await c.shows("a column is 1 minute")
        await c.shows("20 failed jobs")
        await _peak(c, 20)


async def test_a_bound_key_sees_its_own_curve(console: ConsoleMaker) -> None:
    """With no byte of another organisation's failures."""
    settings = {"DEMO_TOKENS_PER_SECOND": "0", "DEMO_FIRST_TOKEN_MS": "0"}
    async with console(DEMO_FAILURE_RATE="1", **settings) as c:
        await c.submit_many(6, organizationId="alice", maxAttempts=1)
        await c.submit_many(9, organizationId="bob", maxAttempts=1)
        await c.until_counted("failed", 15)
        key = (await make_key(c.client, "alice", "admin", "jobs:read", "stats:read"))["key"]
        await c.open("#/failures")
        await c.sign_in(key)
        await c.shows("6 failed jobs")
        await _peak(c, 6)
        assert "bob" not in json.dumps(await c.page.evaluate("window.bodies"))
