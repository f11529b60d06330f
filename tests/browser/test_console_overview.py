"""The overview in Chromium: figures that come as a stream, or are asked for once a minute."""

from __future__ import annotations

import asyncio

import pytest

from shared.http.auth import Scope
from tests.browser.conftest import ConsoleMaker
from tests.browser.console import Console
from tests.support.callers import OPERATOR, bearer, make_key

EVENTS = "/api/admin/overview/events"

WATCHED = """
window.streams = [];
const Real = window.EventSource;
window.EventSource = class extends Real {
  constructor(...call) { super(...call); window.streams.push(this); }
};
"""
"""Keeps the streams that the page opens."""

HURRIED = """
const later = window.setTimeout;
window.setTimeout = (call, ms, ...more) => later(call, ms >= 10000 ? ms / 30 : ms, ...more);
"""
"""Makes a minute of the page's pauses two seconds."""

_HIDE = (
    "Object.defineProperty(document, 'hidden', {get: () => window.away, configurable: true});"
    "window.away = AWAY; document.dispatchEvent(new Event('visibilitychange'))"
)


def _asked(c: Console, path: str) -> int:
    return sum(path in url for url in c.page.asked)


async def _queued(c: Console, jobs: int) -> None:
    """Wait until the tile of queued jobs shows so many."""
    await c.page.until(f"document.querySelector('.tile .figure')?.textContent === '{jobs}'")


async def test_an_operator_sees_figures_as_they_change(console: ConsoleMaker) -> None:
    """One stream, authenticated by the session's cookie, and no call that repeats itself for the counts."""
    async with console(workers=0) as c:
        await c.open("#/overview")
        await c.sign_in()
        await _queued(c, 0)
        await c.submit_many(7)
        await _queued(c, 7)
        await c.shows("Oldest waiting")
        assert _asked(c, EVENTS) == 1
        assert _asked(c, "/api/admin/overview") == 1
        assert _asked(c, "/api/ai/queue-stats") == 0


async def test_percentiles_and_hours_are_shown(console: ConsoleMaker) -> None:
    """Of the jobs that ended lately, in words that say of which share."""
    async with console(DEMO_TOKENS_PER_SECOND="0", DEMO_FIRST_TOKEN_MS="0") as c:
        await c.submit_many(5)
        await c.until_counted("completed", 5)
        await c.open("#/overview")
        await c.sign_in()
        await c.shows("Median run")
        await c.shows("95 % within")
        await c.shows("Wait times, last day")


async def test_a_hidden_tab_closes_its_stream(console: ConsoleMaker) -> None:
    """And opens one when it is looked at again."""
    async with console(workers=0) as c:
        await c.page.before_scripts(WATCHED)
        await c.open("#/overview")
        await c.sign_in()
        await c.page.until("window.streams.length === 1 && window.streams[0].readyState === 1")
        await c.page.evaluate(_HIDE.replace("AWAY", "true"))
        await c.page.until("window.streams[0].readyState === 2")
        await c.submit_many(3)
        await c.page.evaluate(_HIDE.replace("AWAY", "false"))
        await _queued(c, 3)
        assert await c.page.evaluate("window.streams.length") == 2


async def test_another_page_closes_the_stream(console: ConsoleMaker) -> None:
    """Nothing is read of the fleet while nobody watches it."""
    async with console(workers=0) as c:
        await c.page.before_scripts(WATCHED)
        await c.open("#/overview")
        await c.sign_in()
        await c.page.until("window.streams.length === 1")
        await c.go("#/audit")
        await c.page.until("window.streams[0].readyState === 2")


async def test_the_stream_works_below_a_path(console: ConsoleMaker) -> None:
    """Behind a proxy that serves the gateway under `/presswork`."""
    async with console(workers=0, ROOT_PATH="/presswork") as c:
        await c.page.open(f"{c.stack.gateway.url}/presswork/console/#/overview")
        await c.sign_in()
        await c.shows("Oldest waiting")
        assert _asked(c, f"/presswork{EVENTS}") == 1


async def test_a_revoked_key_signs_its_page_out(console: ConsoleMaker) -> None:
    """The stream ends, and what is asked for then is refused."""
    async with console(workers=0) as c:
        made = await make_key(c.client, "*", "admin", "stats:read")
        await c.open("#/overview")
        await c.sign_in(made["key"])
        await c.shows("Oldest waiting")
        await c.client.delete(f"/api/admin/keys/{made['id']}", headers=bearer(OPERATOR))
        await c.page.until("!!document.querySelector('#key')", seconds=40)


@pytest.mark.parametrize(
    ("whose", "place"),
    [*(("*", place) for place in ("overview", "jobs", "gates", "workers", "failures", "organizations")),
     ("alice", "overview"), ("alice", "jobs")],
)  # fmt: skip
async def test_an_idle_page_costs_next_to_nothing_where_commands_are_billed(
    console: ConsoleMaker, whose: str, place: str
) -> None:
    """No stream is tried, and minutes of an open page cost no command beside the one a minute of its key: the page's
    clock runs 30 times as fast as the gateway's, which keeps what is asked for."""
    async with console(workers=0, FRUGAL="1", LISTING="1") as c:
        made = await make_key(c.client, whose, *map(str, Scope))
        await c.page.before_scripts(HURRIED)
        await c.open(f"#/{place}")
        await c.sign_in(made["key"])
        await c.page.until("!!document.querySelector('main h1') && !document.querySelector('main [aria-busy=true]')")
        await _asks_again(c)

        before = await _commands(c)
        for _ in range(4):
            await _asks_again(c)
        assert await _commands(c) - before <= 1
        assert _asked(c, EVENTS) == 0


async def _asks_again(c: Console) -> None:
    """Wait until the page asks the gateway once more."""
    asked = _asked(c, "/api/")
    async with asyncio.timeout(20):
        while _asked(c, "/api/") == asked:
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)  # what is asked with it


async def _commands(c: Console) -> int:
    """Commands that the gateway has sent so far; asking costs none while the counts are kept."""
    answer = await c.client.get("/api/ai/queue-stats", headers=bearer(OPERATOR))
    return int(answer.json()["redis"]["commands"])
