"""The example front end before services and proxies that answer oddly, late, twice or never."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.browser.service import (
    COMPLETED,
    ERROR,
    HELLO,
    JOB,
    OTHER,
    PROCESSING,
    QUEUED,
    STATUS,
    WORLD,
    Answer,
    Seen,
    accepted,
    said,
    streamed,
)  # fmt: skip


async def test_a_refusal_is_still_shown_while_an_earlier_job_goes_on(seen: Seen) -> None:
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
    """The service did not answer whether it took the job; the same text is sent under the same key until it does."""
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
    """Its fate is unknown, so it is repeated, and is one job."""
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
    await seen.hurry(10)
    await seen.write()
    await seen.status("completed")
    await seen.shows("Hello world")
    assert len(seen.service.asked["status"]) == 2
    assert len(seen.service.asked["events"]) <= 2


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
    """The page reports that a token is needed, and goes on after a sign-in."""
    seen.service.answers |= {"events": [Answer(401)], "status": [Answer(401)]}
    await seen.write()
    await seen.page.until("document.getElementById('status').textContent.includes('does not let this page')")
    seen.service.answers["status"] = [said(STATUS)]
    await seen.status("completed")
    assert await seen.page.text("#status") == "Done"


async def test_a_job_that_is_gone_is_shown(seen: Seen) -> None:
    """Twice in a row it is unknown: it is over."""
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
