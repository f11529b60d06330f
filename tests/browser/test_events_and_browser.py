"""The example front end through events in every order, and through its user's actions in the browser."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.browser.service import (
    CANCELLED,
    COMPLETED,
    ERROR,
    FAILED,
    HELLO,
    JOB,
    OTHER,
    PROCESSING,
    QUEUED,
    WHOLE,
    WORLD,
    Answer,
    Seen,
    accepted,
    said,
    streamed,
)  # fmt: skip


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
    """After any events the page shows the end's status and result."""
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


async def test_the_back_button_and_an_address_typed_in_show_the_right_job(seen: Seen) -> None:
    """The page always shows the job of the address."""
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


async def test_a_cancel_that_is_refused_is_shown_and_may_be_repeated(seen: Seen) -> None:
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
    """Markup in any text of a service makes no element and runs nothing."""
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
    """The stored state cannot be read: the address is enough."""
    await seen.write()
    await seen.status("completed")
    await seen.page.evaluate(
        "window.addEventListener('pagehide', () => sessionStorage.setItem('presswork-job', '{rubbish'))"
    )
    await seen.page.reload()
    await seen.status("completed")
