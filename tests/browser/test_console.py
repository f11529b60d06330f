"""The console in Chromium, as an operator and as a tenant use it."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

from shared.http.auth import Scope
from tests.browser.conftest import ConsoleMaker
from tests.support.callers import OPERATOR, make_key

NASTY = "<img/src=x/onerror=window.pwned=1>"
"""It may be an organisation's id, and is markup."""

PAGES = ("overview", "jobs", "failures", "gates", "workers", "organizations", "usage", "keys", "audit", "submit")


async def test_a_person_signs_in_and_out(console: ConsoleMaker) -> None:
    """A wrong key is named as such; the cookie is no script's to read; a reload stays signed in; a sign-out ends it."""
    async with console(workers=0) as c:
        await c.open()
        await c.page.until("document.activeElement.id === 'key'")
        await c.type("#key", "pw_wrong")
        await c.press("Sign in")
        await c.shows("This key is not known")
        await c.sign_in()
        assert await c.page.evaluate("document.cookie") == ""
        assert OPERATOR not in json.dumps(await c.page.evaluate("[{...localStorage}, {...sessionStorage}]"))
        await c.page.reload()
        await c.shows("Operator")
        await c.press("Sign out")
        await c.page.until("!!document.querySelector('#key')")
        await c.page.reload()
        await c.page.until("!!document.querySelector('#key')")


async def test_a_tenant_sees_its_own_organization_alone(console: ConsoleMaker) -> None:
    """On no page is a byte of another one in any answer; nothing of it can be named either."""
    async with console() as c:
        await c.submit(organizationId="bob-secret", prompt="of bob")
        foreign = await c.submit(organizationId="bob-secret")
        own = await c.submit(organizationId="alice")
        await c.ended(own, "completed")
        key = await make_key(c.client, "alice", *map(str, Scope))
        await c.open()
        await c.sign_in(key["key"])
        for place in (*PAGES, f"jobs/{own}", f"jobs/{foreign}", "jobs?organizationId=bob-secret"):
            await c.visit(place)
        bodies = await c.page.evaluate("window.bodies.map((one) => one.slice(one.indexOf(' ')))")
        assert len(bodies) > 10
        assert not [one for one in bodies if "bob-secret" in one or foreign in one]


async def test_markup_stays_text_everywhere(console: ConsoleMaker) -> None:
    """In an organisation, a project, a user, a prompt, a parameter, a label and a text: shown, never run."""
    async with console(DEMO_TOKENS_PER_SECOND="0", DEMO_FIRST_TOKEN_MS="0") as c:
        names = {
            "organizationId": NASTY,
            "projectId": NASTY,
            "userId": NASTY,
            "prompt": f"{NASTY} <script>window.pwned=1</script>",
        }
        job = await c.submit(**names, parameters={"tone": NASTY}, metadata={"a": NASTY})
        waiting = await c.submit(**names, delaySeconds=3600)
        await c.ended(job, "completed")
        await make_key(c.client, NASTY, label=NASTY)
        await c.open()
        await c.sign_in()
        encoded = "organizationId=%3Cimg%2Fsrc%3Dx%2Fonerror%3Dwindow.pwned%3D1%3E"
        for place in ("keys", "audit", f"jobs?{encoded}", f"usage?{encoded}", f"jobs/{job}", f"jobs/{waiting}"):
            await c.visit(place)
            await c.shows(NASTY)
        await c.visit(f"submit?from={waiting}")
        await c.page.until("document.querySelector('#prompt')?.value.includes('<script>')")
        assert await c.page.evaluate("typeof window.pwned") == "undefined"
        assert await c.page.evaluate("document.querySelectorAll('img').length") == 0


async def test_no_request_leaves_the_origin(console: ConsoleMaker) -> None:
    """Every page, with its font, its curves and its streams, asks this gateway alone."""
    async with console() as c:
        job = await c.submit(organizationId="alice")
        await c.ended(job, "completed")
        await c.open()
        await c.sign_in()
        for place in (*PAGES, f"jobs/{job}", "usage?organizationId=alice"):
            await c.visit(place)
        origins = {urlsplit(url).netloc for url in c.page.asked if not url.startswith(("data:", "about:", "blob:"))}
        assert origins == {urlsplit(c.stack.gateway.url).netloc}
        assert len(c.page.asked) > 40


async def test_a_hidden_tab_asks_nothing(console: ConsoleMaker) -> None:
    """Readings rest while nobody looks, and go on at once when a reader is back."""
    async with console(workers=0) as c:
        await c.open("#/overview")
        await c.sign_in()
        await c.shows("What is wrong now")
        await c.page.evaluate(
            "Object.defineProperty(document, 'hidden', {get: () => window.away, configurable: true});"
            "window.away = true; document.dispatchEvent(new Event('visibilitychange'));"
            "new Promise((done) => setTimeout(done, 500))"
        )
        asked = len(c.page.asked)
        await c.page.evaluate("new Promise((done) => setTimeout(done, 7000))")
        assert len(c.page.asked) == asked
        await c.page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
        async with asyncio.timeout(20):
            while len(c.page.asked) == asked:
                await asyncio.sleep(0.05)


async def test_the_first_page_is_small_and_soon_there(console: ConsoleMaker) -> None:
    """All that a browser without a cache loads until the overview is drawn, curves and font too: 120 KB over the wire;
    a page that is signed in takes less than a second of CPU until it can be used."""
    async with console() as c:
        await c.submit(organizationId="alice")
        await c.open("#/overview")
        await c.sign_in()
        await c.page.until("!!document.querySelector('.chart canvas')")
        await c.page.evaluate("document.fonts.ready.then(() => true)")
        await asyncio.sleep(1)
        print(f"{c.page.loaded_bytes} bytes")
        assert 50_000 < c.page.loaded_bytes <= 120_000

        await c.page.open("about:blank")
        before = await c.page.cpu_seconds()
        await c.page.open(f"{c.stack.gateway.url}/console/#/overview")
        await c.page.until("!!document.querySelector('.tile .figure')")
        print(f"{await c.page.evaluate('performance.now()'):.0f} ms until it was seen to be there")
        assert await c.page.cpu_seconds() - before < 1
