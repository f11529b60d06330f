"""The looks of the console: every page at three widths in both colour schemes, accessible to axe, kept as pictures."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.browser.conftest import ConsoleMaker
from tests.browser.console import Console
from tests.browser.test_console import PAGES
from tests.support.processes import ROOT

AXE: Final = ROOT / ".node" / "node_modules" / "axe-core" / "axe.min.js"
"""Made by `make install-dev` where npm is there."""

PICTURES: Final = ROOT / "tests" / "browser" / "screenshots"
WIDTHS: Final = ((1440, 900), (1024, 768), (390, 844))

_JUDGE: Final = """
axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}).then(({violations, passes}) => [
  ...violations.filter((one) => ['serious', 'critical'].includes(one.impact)).flatMap((one) =>
    one.nodes.slice(0, 3).map((node) => `${one.id}: ${node.target} ${node.any.map((any) => any.message)}`)),
  ...(passes.length < 10 ? ['axe found nothing to judge'] : []),
])
"""


async def _look(c: Console, name: str, scheme: str) -> None:
    for width, height in WIDTHS:
        await c.page.show_as(width, height, scheme)
        await c.page.evaluate("document.fonts.ready.then(() => new Promise((done) => setTimeout(done, 250)))")
        (PICTURES / f"{name}-{width}-{scheme}.png").write_bytes(await c.page.screenshot())
        beyond = await c.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert beyond <= 0, (name, width)
        if width != 1024:
            await judge(c, f"{name} {width} {scheme}")


async def judge(c: Console, place: str) -> None:
    """axe finds nothing serious in the page; without axe nothing is asked."""
    if not AXE.exists():
        return
    if not await c.page.evaluate("'axe' in window"):
        await c.page.evaluate(AXE.read_text(encoding="utf-8") + "; true")
    found: list[Any] = await c.page.evaluate(_JUDGE)
    assert found == [], place


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_is_accessible_at_every_width(console: ConsoleMaker, scheme: str) -> None:
    """axe finds nothing serious, and nothing is wider than the screen; the pictures are kept."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm is missing, or `make install-dev` did not run")
    PICTURES.mkdir(exist_ok=True)
    async with console(DEMO_TOKENS_PER_SECOND="12", DEMO_FAILURE_RATE="0.3") as c:
        await c.submit_many(40, maxAttempts=1, parameters={"length": "short"})
        await c.submit_many(3, delaySeconds=900)
        running = await c.submit(parameters={"length": "long", "platform": "blog"})
        await c.open()
        await c.page.until("!!document.querySelector('#key')")
        await _look(c, "sign-in", scheme)
        await c.sign_in()
        for place in (*PAGES, "jobs?organizationId=org-789", "usage?organizationId=org-789", f"jobs/{running}"):
            await c.go(f"#/{place}")
            await c.page.until(
                "!!document.querySelector('main h1, main h2') && !document.querySelector('main [aria-busy=true]')"
            )
            await _look(c, place.replace("?organizationId=", "-of-").replace(f"jobs/{running}", "job"), scheme)


@pytest.mark.slow
async def test_dialogs_are_accessible(console: ConsoleMaker) -> None:
    """Those that ask, that make a key, that find a page and that list the keys of the keyboard; Escape closes each."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm is missing, or `make install-dev` did not run")
    async with console(workers=0) as c:
        job = await c.submit()
        await c.open(f"#/jobs/{job}")
        await c.sign_in()
        for place, opened in (
            (f"jobs/{job}", "Cancel"), ("keys", "New key"), ("keys", "Find"), ("keys", "?"),
        ):  # fmt: skip
            await c.go(f"#/{place}")
            await c.page.until(f"location.hash === {json.dumps(f'#/{place}')}")
            await c.press(opened)
            await c.page.until("!!document.querySelector('dialog[open]')")
            await c.page.evaluate("new Promise((done) => setTimeout(done, 300))")
            await judge(c, opened)
            assert await c.page.evaluate("document.querySelector('dialog').contains(document.activeElement)")
            await c.page.press("Escape")
            await c.page.until("!document.querySelector('dialog[open]')")
