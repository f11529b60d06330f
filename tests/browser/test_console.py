"""The console in Chromium, as an operator and as a tenant use it."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

from shared.http.auth import Scope
from tests.browser.conftest import ConsoleMaker
from tests.browser.console import Console
from tests.support.callers import OPERATOR, bearer, make_key

NASTY = "<img/src=x/onerror=window.pwned=1>"
"""It may be an organisation's id, and is markup."""

PAGES = ("overview", "jobs", "failures", "gates", "workers", "organizations", "usage", "keys", "audit", "submit")


async def _visit(console: Console, place: str) -> None:
    await console.go(f"#/{place}")
    await console.page.until(
        "document.querySelector('main h1, main h2') && !document.querySelector('main [aria-busy=true]')"
        f" && location.hash === {json.dumps(f'#/{place}')}"
    )


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


async def test_jobs_are_found_followed_and_cancelled(console: ConsoleMaker) -> None:
    """Filters are in the address and outlive a reload; keys move and open rows; text arrives live; a cancel
    asks with a count and says what it did."""
    async with console(DEMO_TOKENS_PER_SECOND="15") as c:
        running = await c.submit(parameters={"length": "long", "platform": "blog"})
        await c.open("#/jobs?organizationId=org-789")
        await c.sign_in()
        await c.shows(running[-9:])
        await c.press("Failed")
        await c.shows("No job matches")
        assert await c.page.evaluate("location.hash") == "#/jobs?organizationId=org-789&status=failed"
        await c.page.reload()
        await c.shows("No job matches")
        await c.press("All")
        await c.shows(running[-9:])

        await c.page.press("j")
        await c.page.press("Enter")
        await c.page.until(f"location.hash === '#/jobs/{running}'")
        await c.page.until("document.querySelector('.job-text')?.textContent.length > 20")
        await c.shows("Live")
        await c.press("Cancel")
        await c.shows("Cancel 1 job?")
        await c.press("Cancel 1 job")
        await c.shows("Cancelled 1 job.")
        await c.shows("Text that came")


async def test_failed_jobs_are_retried_together(console: ConsoleMaker) -> None:
    """All that match are chosen over several pages; the retry asks with their number, and makes as many jobs."""
    async with console(DEMO_FAILURE_RATE="1", DEMO_TOKENS_PER_SECOND="0", DEMO_FIRST_TOKEN_MS="0") as c:
        await c.submit_many(130, maxAttempts=1)
        await c.until_counted("failed", 130)
        await c.open("#/jobs?organizationId=org-789&status=failed")
        await c.sign_in()
        await c.page.until("!!document.querySelector('.grid-row')")
        await c.press("Pause")
        await c.page.evaluate("document.querySelector('.grid-head input').click()")
        await c.page.until("!!document.querySelector('.selection')")
        if not await c.has("130 chosen"):
            await c.press("Choose all that match")
        await c.shows("130 chosen")
        await c.press("Retry 130")
        await c.shows("Retry 130 jobs?")
        await c.press("Retry 130 jobs")
        await c.shows("Retried 130 jobs.", seconds=40)
        await c.until_counted("failed", 260)


async def test_a_cause_is_found_and_its_failures_are_retried(console: ConsoleMaker) -> None:
    """Failures are grouped over all organisations; one group is retried by a task, exactly, and its jobs end."""
    settings = {"DEMO_TOKENS_PER_SECOND": "0", "DEMO_FIRST_TOKEN_MS": "0"}
    async with console(DEMO_FAILURE_RATE="1", **settings) as c:
        await c.submit_many(30, organizationId="alice", maxAttempts=1)
        await c.submit_many(20, organizationId="bob", maxAttempts=1)
        await c.until_counted("failed", 50)
        await c.open("#/failures")
        await c.sign_in()
        await c.shows("50 failed jobs")
        await c.press("Retry 20")
        await c.shows("Retry 20 failed jobs?")
        await c.press("Retry 20 jobs")
        await c.shows("Retried 20 jobs.", seconds=60)
        await c.until_counted("failed", 70)
        await _visit(c, "jobs?organizationId=bob&status=failed")
        await c.shows("20 jobs")


_OPEN_THE_NEXT = """
    new MutationObserver((_, observer) => {
        observer.disconnect();
        document.querySelector('[aria-label="Change alice"]').click();
        setTimeout(() => { window.later = true; }, 200);
    }).observe(document.querySelector('dialog'), { attributeFilter: ['open'] })
"""


async def test_an_organization_is_paused_and_limited(console: ConsoleMaker) -> None:
    """The dialog sends what was changed and nothing else; a pause says how many jobs wait."""
    async with console(workers=0) as c:
        await make_key(c.client, "alice")
        await c.submit_many(3, organizationId="alice")
        await c.open("#/organizations")
        await c.sign_in()
        await c.press("Pause")
        await c.shows("its 3 waiting jobs wait")
        await c.press("Pause 1 organisation")
        await c.shows("Paused 1 organisation, alice.")
        await c.page.click('[aria-label="Change alice"]')
        await c.type("#of-weight", "3")
        await c.type("#of-runningJobs", "7")
        await c.press("Change 1 organisation")
        await c.shows("Changed 1 organisation, alice.")
        read = (await c.client.get("/api/admin/organizations/alice", headers=bearer(OPERATOR))).json()
        assert (read["weight"], read["limits"]["runningJobs"], read["paused"]) == (3, 7, True)
        assert read["limits"]["queuedJobs"] is None


async def test_a_dialog_that_opens_while_another_closes_stays(console: ConsoleMaker) -> None:
    """The event of the first one's end comes when the second one is open already."""
    async with console(workers=0) as c:
        await make_key(c.client, "alice")
        await c.submit_many(1, organizationId="alice")
        await c.open("#/organizations")
        await c.sign_in()
        await c.press("Pause")
        await c.shows("Pause 1 organisation, alice?")
        await c.page.evaluate(_OPEN_THE_NEXT)
        await c.press("Keep as it is")
        await c.page.until("!!window.later && !!document.querySelector('dialog[open] #of-weight')")


async def test_a_job_is_edited_and_submitted_again(console: ConsoleMaker) -> None:
    """The form has the request of the earlier job; the new one has the change, and all else as it was."""
    async with console(workers=0) as c:
        first = await c.submit(
            prompt="Write about tea", parameters={"tone": "calm", "audience": "cats"}, metadata={"n": 1}
        )
        await c.open(f"#/submit?from={first}")
        await c.sign_in()
        await c.page.until("document.querySelector('#prompt')?.value === 'Write about tea'")
        await c.type("#prompt", "Write about coffee")
        await c.press("Submit 1 job")
        await c.shows("Submitted 1 job.")
        await c.shows("Write about coffee")
        second = str(await c.page.evaluate("location.hash.slice(7)"))
        requests = [
            (await c.client.get(f"/api/ai/jobs/{job}/request", headers=bearer(OPERATOR))).json()
            for job in (first, second)
        ]
        assert requests[0] | {"prompt": "Write about coffee"} == requests[1]


async def test_a_key_is_made_shown_once_and_revoked(console: ConsoleMaker) -> None:
    """The text of a new key is there until the dialog is closed, and works; a revoked one does not."""
    async with console(workers=0) as c:
        await c.open("#/keys")
        await c.sign_in()
        await c.press("New key")
        await c.type("#key-organization", "alice")
        await c.type("#key-label", "backend")
        await c.press("Make 1 key")
        await c.shows("it is shown here once")
        key = str(await c.page.text(".secret span"))
        jobs = "/api/ai/jobs?organizationId=alice"
        assert (await c.client.get(jobs, headers=bearer(key))).status_code == 200
        await c.press("I have copied it")
        await c.shows("backend")
        assert key not in await c.page.evaluate("document.documentElement.outerHTML")
        await c.page.click('[aria-label="Revoke the key backend"]')
        await c.press("Revoke 1 key")
        await c.shows("Revoked 1 key")
        assert (await c.client.get(jobs, headers=bearer(key))).status_code == 401
        await _visit(c, "audit")
        await c.shows("Key revoked")


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
            await _visit(c, place)
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
            await _visit(c, place)
            await c.shows(NASTY)
        await _visit(c, f"submit?from={waiting}")
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
            await _visit(c, place)
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


FRAME_MS = 50
"""A longer frame is seen."""

_SCROLL = """new Promise((done) => {
  const grid = document.querySelector('.grid-body');
  const times = [];
  let last = performance.now();
  grid.scrollTop = 0;
  const frame = (now) => {
    times.push(now - last);
    last = now;
    grid.scrollTop += grid.scrollHeight / 250;
    if (times.length < 250) requestAnimationFrame(frame); else done(times.slice(5));
  };
  requestAnimationFrame(frame);
})"""
"""Scrolls through the whole list, a new screen of rows in each frame; the length of each frame in ms."""


async def test_ten_thousand_jobs_scroll(console: ConsoleMaker) -> None:
    """Only the rows in sight are in the document, and no frame is longer than 50 ms: of several rounds the best time at
    each place counts. A slow place is slow in each of them, a busy machine is not."""
    async with console(workers=0) as c:
        await c.submit_many(10_000)
        await c.open("#/jobs?organizationId=org-789")
        await c.sign_in()
        await c.page.until("!!document.querySelector('.grid-row')")
        await c.press("Pause")
        await c.page.until(
            "(() => { const grid = document.querySelector('.grid-body'); grid.scrollTop = grid.scrollHeight;"
            " return document.body.innerText.includes('10,000 jobs'); })()",
            seconds=90,
        )
        before, rounds = await c.page.cpu_seconds(), 0
        best: list[float] = []
        while rounds < 3 or (max(best) > FRAME_MS and rounds < 15):
            times: list[float] = await c.page.evaluate(_SCROLL)
            best = [min(pair) for pair in zip(best or times, times, strict=True)]
            rounds += 1
        assert await c.page.evaluate("document.querySelectorAll('.grid-row').length") < 80
        used_ms = (await c.page.cpu_seconds() - before) * 1000 / rounds / len(best)
        print(f"longest of {len(best)} frames {max(best):.1f} ms in {rounds} rounds; {used_ms:.1f} ms of CPU a frame")
        assert max(best) <= FRAME_MS


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


async def test_an_operator_sees_the_jobs_of_all_organizations(console: ConsoleMaker) -> None:
    """In one list, with whose each is; completed ones of the organisation that is chosen."""
    async with console(workers=0) as c:
        for name in ("alice", "bob"):
            await c.submit(organizationId=name)
        await make_key(c.client, "alice")
        cancelled = await c.submit(organizationId="carol")
        await c.client.post(f"/api/ai/jobs/{cancelled}/cancel", headers=bearer(OPERATOR))
        await c.open("#/jobs")
        await c.sign_in()
        await c.shows("3 jobs")
        for name in ("alice", "bob", "carol"):
            assert await c.has(name)
        await c.press("Queued")
        await c.shows("2 jobs")
        await c.press("Completed")
        await c.shows("Choose an organisation")
        assert not await c.has("Not up to date")
        await c.press("alice")
        await c.shows("No job matches")
