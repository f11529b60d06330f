"""The example front end before services and proxies that answer oddly, late, twice or never."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.browser.service import JOB, OTHER, Answer, Service, accepted, running, said, streamed
from tests.support.chromium import BINARY, Chromium, Page

pytestmark = pytest.mark.skipif(BINARY is None, reason="Chromium is not installed")

QUEUED = ("queued", {"jobId": JOB})
PROCESSING = ("processing", {"jobId": JOB, "attempt": 1})
HELLO = ("delta", {"jobId": JOB, "text": "Hello "})
WORLD = ("delta", {"jobId": JOB, "text": "world"})
COMPLETED = ("completed", {"jobId": JOB, "result": "Hello world", "provider": "demo", "model": "demo"})
WHOLE = (PROCESSING, HELLO, WORLD, COMPLETED)
FAILED = ("failed", {"jobId": JOB, "error": {"type": "Timeout", "message": "It took too long"}})
CANCELLED = ("cancelled", {"jobId": JOB, "result": "Hello "})
STATUS = {"jobId": JOB, "status": "completed", "result": "Hello world"}
ERROR = "document.getElementById('error').textContent"


class Seen(NamedTuple):
    """A page at its service."""

    page: Page
    service: Service

    async def write(self, prompt: str = "Say hello") -> None:
        """Fill in the form and send it."""
        await self.page.fill("#prompt", prompt)
        await self.page.click("#submit")

    async def status(self, wanted: str, seconds: float = 20) -> None:
        """Wait until the page shows a job of this status."""
        await self.page.until(f"document.body.dataset.status === '{wanted}'", seconds=seconds)

    async def shows(self, text: str) -> None:
        """Wait until the page shows this text, and no other."""
        await self.page.until(f"document.getElementById('text').textContent === {text!r}")


@pytest.fixture
async def seen(tmp_path: Path) -> AsyncIterator[Seen]:
    """The page is open, nothing is submitted yet."""
    with running() as service:
        async with Chromium(tmp_path / "profile") as browser:
            page = await browser.page()
            service.answers = {
                "submit": [accepted()],
                "events": [streamed(QUEUED, PROCESSING, HELLO, WORLD, COMPLETED)],
            }
            await page.open(f"{service.origin}/")
            yield Seen(page, service)
            assert page.complaints == []


@pytest.mark.parametrize(
    ("events", "status", "text"),
    [
        ([COMPLETED], "completed", "Hello world"),
        ([QUEUED, PROCESSING, COMPLETED], "completed", "Hello world"),
        ([("gap", {"status": "completed"}), COMPLETED], "completed", "Hello world"),
        ([PROCESSING, HELLO, ("gap", {"status": "failed", "text": "Hello "}), FAILED], "failed", "Hello "),
        ([PROCESSING, HELLO, ("gap", {"status": "queued"}), *WHOLE], "completed", "Hello world"),
        ([("gap", {"status": "processing", "text": "Hello "}), WORLD, COMPLETED], "completed", "Hello world"),
        ([PROCESSING, HELLO, ("retrying", {"reason": "new"}), *WHOLE], "completed", "Hello world"),
        ([PROCESSING, HELLO, ("retrying", {"reason": "error"}), FAILED], "failed", "Hello "),
        ([QUEUED, CANCELLED], "cancelled", "Hello "),
        ([QUEUED, ("cancelled", {"jobId": JOB})], "cancelled", ""),
    ],
)  # fmt: skip
async def test_events_in_every_order_lead_to_the_end(
    seen: Seen, events: list[tuple[str, dict[str, Any]]], status: str, text: str
) -> None:
    """Whatever came before, the end's status and result are what the page shows last."""
    seen.service.answers["events"] = [streamed(*events)]
    await seen.write()
    await seen.status(status)
    await seen.shows(text)


async def test_a_stream_cut_after_each_event_loses_none(seen: Seen) -> None:
    """Each connection brings one event and ends: the page stays with streams and misses nothing."""
    seen.service.answers["events"] = [streamed(e) for e in (QUEUED, PROCESSING, HELLO, WORLD, COMPLETED)]
    await seen.write()
    await seen.status("completed")
    assert not seen.service.asked["status"]


async def test_a_refusal_is_still_told_while_an_earlier_job_goes_on(seen: Seen) -> None:
    """The next event of the job before does not wipe the message away."""
    more, over = threading.Event(), threading.Event()
    seen.service.answers["submit"] = [accepted(), said({"title": "Too many jobs"}, 429)]
    seen.service.answers["events"] = [
        streamed(QUEUED, PROCESSING, HELLO, until=more), streamed(WORLD, until=over), streamed(COMPLETED)
    ]  # fmt: skip
    await seen.write()
    await seen.shows("Hello ")
    await seen.write("Say more")
    await seen.page.until(f"{ERROR} === 'Too many jobs'")
    more.set()
    await seen.shows("Hello world")
    assert await seen.page.text("#error") == "Too many jobs"
    over.set()
    await seen.status("completed")


async def test_two_clicks_are_one_job(seen: Seen) -> None:
    """The form is shut while it is being sent."""
    sent = threading.Event()
    seen.service.answers["submit"] = [accepted()._replace(until=sent)]
    await seen.page.evaluate("for (let i = 0; i < 3; i++) document.getElementById('submit').click()")
    await seen.page.evaluate("document.getElementById('form').requestSubmit()")
    sent.set()
    await seen.status("completed")
    assert len({request.key for request in seen.service.asked["submit"]}) == 1


async def test_a_reload_while_the_job_is_being_sent_finds_it(seen: Seen) -> None:
    """The answer with the id is lost: the same body is sent again under the same key, and the job is shown."""
    never = threading.Event()
    seen.service.answers["submit"] = [accepted()._replace(until=never), accepted()]
    await seen.write("Say hello")
    while not seen.service.asked["submit"]:
        await asyncio.sleep(0.02)
    await seen.page.reload()
    await seen.status("completed")
    never.set()
    first, second = seen.service.asked["submit"]
    assert first == second
    await seen.page.reload()
    await seen.status("completed")
    assert len(seen.service.asked["submit"]) == 2


async def test_trying_again_after_giving_up_is_the_same_job(seen: Seen) -> None:
    """The service did not tell whether it took the job; the same text is sent under the same key until it does."""
    away = said({"title": "Away"}, 503, retry_after="1")
    seen.service.answers["submit"] = [away, Answer(502, b"<html>", "text/html"), away, away, accepted()]
    await seen.write()
    await seen.page.until(f"{ERROR} === 'Away'")
    await seen.write()
    await seen.status("completed")
    assert len(seen.service.asked["submit"]) == 5
    assert len(set(seen.service.asked["submit"])) == 1
    await seen.write()
    await seen.page.until("!document.getElementById('submit').disabled")
    assert len(set(seen.service.asked["submit"])) == 2


@pytest.mark.parametrize(
    "odd",
    [
        accepted()._replace(cut=10),
        Answer(200, b"<html>Sign in</html>", "text/html"),
        said({"title": "Away"}, 503, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"),
    ],
    ids=["cut", "html", "date"],
)
async def test_a_submit_answered_oddly_is_sent_again_under_its_key(seen: Seen, odd: Answer) -> None:
    """Nobody knows what became of it, so it is repeated, and is one job."""
    seen.service.answers["submit"] = [odd, accepted()]
    await seen.write()
    await seen.status("completed")
    first, second = seen.service.asked["submit"]
    assert first == second


@pytest.mark.parametrize(
    "odd",
    [
        Answer(200, b"<html>Sign in</html>", "text/html"),
        said({}),
        said(None),
        said({"jobId": OTHER, "status": "failed"}),
        said({"title": "No"}, 401),
        said({"title": "No"}, 403),
        said({"title": "No"}, 404),
        said({"title": "Slow down"}, 429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"),
        said({"title": "Away"}, 503, retry_after="0"),
        Answer(502, b"<html>", "text/html"),
    ],
    ids=["html", "empty", "null", "other", "401", "403", "404", "429", "503", "502"],
)
async def test_a_poll_answered_oddly_is_not_the_end(seen: Seen, odd: Answer) -> None:
    """It is asked again after a pause, never in a tight loop, until there is an answer about this job."""
    seen.service.answers |= {"events": [said({"title": "No"}, 403)], "status": [odd, said(STATUS)]}
    await seen.write()
    await seen.status("completed")
    await seen.shows("Hello world")
    assert len(seen.service.asked["status"]) == 2
    assert len(seen.service.asked["events"]) == 2


async def test_a_service_that_does_not_wait_is_not_asked_in_a_loop(seen: Seen) -> None:
    """Streams are refused and polls answered at once: about one question a second."""
    going = said({"jobId": JOB, "status": "processing"})
    seen.service.answers |= {"events": [Answer(404)], "status": [going, going, said(STATUS)]}
    loop = asyncio.get_running_loop()
    began = loop.time()
    await seen.write()
    await seen.status("completed")
    assert loop.time() - began >= 2


async def test_a_page_that_may_not_see_its_job_says_so(seen: Seen) -> None:
    """A token is wanted: it is told, and goes on should somebody sign in."""
    seen.service.answers |= {"events": [Answer(401)], "status": [Answer(401)]}
    await seen.write()
    await seen.page.until("document.getElementById('status').textContent.includes('does not let this page')")
    seen.service.answers["status"] = [said(STATUS)]
    await seen.status("completed")
    assert await seen.page.text("#status") == "Done"


async def test_a_job_that_is_gone_is_told(seen: Seen) -> None:
    """Twice in a row nobody knows it: it is over."""
    seen.service.answers |= {"events": [Answer(404)], "status": [Answer(404)]}
    await seen.write()
    await seen.status("failed")
    assert await seen.page.text("#error") == "There is no such job any more"


async def test_a_notifier_that_is_full_makes_the_page_poll(seen: Seen) -> None:
    """Every stream opens and ends at once, without an event: the job's end is found by polling."""
    seen.service.answers |= {"events": [streamed()], "status": [said(STATUS)]}
    await seen.write()
    await seen.status("completed")
    await seen.shows("Hello world")


async def test_the_back_button_and_an_address_typed_in_show_the_right_job(seen: Seen) -> None:
    """What is shown is always the job of the address."""
    seen.service.answers["submit"] = [accepted(JOB), accepted(OTHER)]
    other = ("completed", {"jobId": OTHER, "result": "Another"})
    seen.service.answers["events"] = [
        streamed(COMPLETED), streamed(other), streamed(COMPLETED), streamed(other), streamed(COMPLETED)
    ]  # fmt: skip
    await seen.write()
    await seen.shows("Hello world")
    await seen.write("Say another")
    await seen.shows("Another")
    await seen.page.evaluate("history.back()")
    await seen.shows("Hello world")
    await seen.page.evaluate("history.forward()")
    await seen.shows("Another")
    await seen.page.evaluate(f"location.hash = '{JOB}'")
    await seen.shows("Hello world")
    await seen.page.evaluate("location.hash = '<img src=x>'")
    await seen.shows("")
    assert await seen.page.evaluate("document.getElementById('cancel').disabled") is True


async def test_a_page_that_comes_back_from_the_browsers_cache_asks_for_its_stream_again(seen: Seen) -> None:
    """The browser closed the old stream without a word; the new one begins where that was, and nothing comes twice."""
    never = threading.Event()
    seen.service.answers["events"] = [
        streamed(QUEUED, PROCESSING, HELLO, until=never), streamed(WORLD), streamed(COMPLETED)
    ]  # fmt: skip
    await seen.write()
    await seen.shows("Hello ")
    await seen.page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    await seen.status("completed")
    await seen.shows("Hello world")
    never.set()


async def test_a_cancel_that_is_refused_is_told_and_may_be_repeated(seen: Seen) -> None:
    """403 says so and the button comes back; 409 is left to the stream, which brings the end that came first."""
    more = threading.Event()
    seen.service.answers |= {
        "events": [streamed(QUEUED, PROCESSING, HELLO, until=more), streamed(WORLD, COMPLETED)],
        "cancel": [Answer(403), said({"title": "It has ended"}, 409)],
    }
    await seen.write()
    await seen.shows("Hello ")
    await seen.page.click("#cancel")
    await seen.page.until(f"{ERROR} === 'It could not be cancelled (403)'")
    assert await seen.page.evaluate("document.getElementById('cancel').disabled") is False
    await seen.page.click("#cancel")
    more.set()
    await seen.status("completed")
    assert await seen.page.text("#error") == ""


async def test_hostile_results_errors_and_names_are_text(seen: Seen) -> None:
    """Markup in whatever a service says makes no element and runs nothing."""
    markup = "<img src=x onerror=hacked=1><script>hacked=1</script>"
    usage = {"inputTokens": markup, "outputTokens": 1}
    end = {"jobId": JOB, "result": markup, "error": {"message": markup}, "provider": markup, "usage": usage}
    seen.service.answers["events"] = [streamed(("completed", end))]
    await seen.write()
    await seen.shows(markup)
    assert await seen.page.text("#error") == markup
    assert await seen.page.evaluate("document.querySelectorAll('main img, main script').length") == 0
    assert await seen.page.evaluate("window.hacked === undefined") is True


async def test_a_tab_whose_storage_holds_rubbish_works(seen: Seen) -> None:
    """What was kept cannot be read: the address is enough."""
    await seen.write()
    await seen.status("completed")
    await seen.page.evaluate(
        "window.addEventListener('pagehide', () => sessionStorage.setItem('presswork-job', '{rubbish'))"
    )
    await seen.page.reload()
    await seen.status("completed")
