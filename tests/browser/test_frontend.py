"""The example front end in Chromium, as a user sees it, also while services come and go."""

from __future__ import annotations

import itertools

from shared.store.keys import Keys
from tests.browser.conftest import Browsing, BrowsingMaker
from tests.support.checks import RawRedis

SLOW = {"DEMO_TOKENS_PER_SECOND": "40"}
"""About 5 s for a long text."""

MISSED = "document.getElementById('status').textContent.includes('Some of the text was missed')"


def _grew_without_a_flaw(texts: list[str], result: str) -> None:
    """Each text shown is the beginning of the result, none shorter than the one before."""
    assert [text for text in texts if not result.startswith(text)] == []
    assert all(len(earlier) <= len(later) for earlier, later in itertools.pairwise(texts))


async def _result(browsing: Browsing, job_id: str) -> str:
    return str((await browsing.stack.end(job_id))["result"])


async def test_a_text_is_written_before_the_users_eyes(browsing: BrowsingMaker) -> None:
    """Submitted, it appears piece by piece and is whole at the end, with provider, tokens and cost below."""
    async with browsing(**SLOW) as user:
        job_id = await user.submit("Write about the harbour")
        await user.status("processing")
        assert await user.page.evaluate("document.getElementById('text').getAttribute('aria-busy')") == "true"
        await user.status("completed")
        result = await _result(user, job_id)
        assert await user.page.text("#text") == result
        texts = await user.seen()
        usage = await user.page.text("#usage")
        assert await user.page.text("#status") == "Done"
        assert await user.page.evaluate("document.getElementById('cancel').disabled") is True
    _grew_without_a_flaw(texts, result)
    assert len(set(texts)) >= 5
    assert usage.startswith("demo demo: ")
    assert "tokens in" in usage
    assert "$0.000000" in usage


async def test_a_stream_cut_in_the_middle_goes_on_where_it_was(browsing: BrowsingMaker) -> None:
    """The notifier is killed and comes back while the text arrives: no word is lost, none is shown twice."""
    async with browsing(**SLOW) as user:
        job_id = await user.submit("Write about the harbour")
        before = await user.some_text(30)
        await user.stack.notifier.kill()
        user.stack.notifier.start()
        await user.stack.notifier.ready()
        await user.status("completed")
        result = await _result(user, job_id)
        assert await user.page.text("#text") == result
        texts = await user.seen()
    _grew_without_a_flaw(texts, result)
    assert result.startswith(before)


async def test_without_a_notifier_the_page_polls(browsing: BrowsingMaker) -> None:
    """The streams are gone for good: the job still comes to its end on the page, with its text and its cost."""
    async with browsing(**SLOW) as user:
        await user.stack.notifier.kill()
        job_id = await user.submit("Write about the harbour", "short")
        await user.status("completed", seconds=40)
        assert await user.page.text("#text") == await _result(user, job_id)
        assert "tokens in" in await user.page.text("#usage")


async def test_a_reload_in_the_middle_of_a_stream_resumes_it(browsing: BrowsingMaker) -> None:
    """After F5 the text that was there is there again and goes on; nothing is lost, nothing is shown twice."""
    async with browsing(**SLOW) as user:
        job_id = await user.submit("Write about the harbour")
        before = await user.some_text(30)
        await user.page.reload()
        assert len(await user.page.text("#text")) >= len(before)
        await user.status("completed")
        result = await _result(user, job_id)
        assert await user.page.text("#text") == result
        texts = await user.seen()
    _grew_without_a_flaw(texts, result)


async def test_the_address_of_a_job_is_enough(browsing: BrowsingMaker) -> None:
    """Another tab without anything saved shows the job from its beginning."""
    async with browsing(**SLOW) as user:
        job_id = await user.submit("Write about the harbour", "short")
        await user.status("completed")
        await user.page.evaluate(
            "sessionStorage.clear(); window.addEventListener('pagehide', () => sessionStorage.clear())"
        )
        await user.page.reload()
        await user.status("completed")
        assert await user.page.text("#text") == await _result(user, job_id)


async def test_streams_closed_on_purpose_are_nothing_to_the_user(browsing: BrowsingMaker) -> None:
    """Streams cut every half a second: the text arrives whole, once and in order, over many streams."""
    async with browsing(NOTIFIER_STREAM_SECONDS="0.5", **SLOW) as user:
        job_id = await user.submit("Write about the harbour")
        await user.status("completed")
        result = await _result(user, job_id)
        assert await user.page.text("#text") == result
        texts = await user.seen()
    _grew_without_a_flaw(texts, result)
    assert len(set(texts)) >= 5


async def test_a_lost_worker_clears_the_text_and_another_writes_it_anew(browsing: BrowsingMaker) -> None:
    """The text of a dead worker disappears at the next `processing`; the page ends with one whole text."""
    async with browsing(workers=1, LEASE_SECONDS="1", **SLOW) as user:
        job_id = await user.submit("Write about the harbour")
        await user.some_text(30)
        (worker,) = user.stack.workers
        await worker.kill()
        worker.start()
        await user.status("completed", seconds=40)
        result = await _result(user, job_id)
        assert await user.page.text("#text") == result
        texts, statuses = await user.seen(), await user.seen("status")
    assert "Waiting: The worker was lost, it will be tried again" in statuses
    shrank = [later for earlier, later in itertools.pairwise(texts) if len(later) < len(earlier)]
    assert len(shrank) == 1
    assert result.startswith(shrank[0])


async def test_lost_events_are_admitted_and_the_end_is_whole(browsing: BrowsingMaker) -> None:
    """The log of the deltas is lost while the stream is cut: the page says so and ends with the whole text."""
    async with browsing(DEMO_TOKENS_PER_SECOND="4") as user, RawRedis(user.stack.server.url) as raw:
        job_id = await user.submit("Write about the harbour")
        await user.some_text(15)
        await user.stack.notifier.kill()
        await raw("DEL", Keys().log(job_id))
        user.stack.notifier.start()
        # Should the notifier start slowly, the page polls for up to 20 s before it asks for the stream again.
        await user.page.until(MISSED, seconds=40)
        before = await user.page.text("#text")
        await user.page.until(f"document.getElementById('text').textContent.length > {len(before)}")
        await user.page.click("#cancel")
        await user.status("cancelled")
        assert await user.page.text("#text") == await _result(user, job_id)


async def test_a_job_that_ended_and_lost_its_log_while_the_stream_was_cut_is_shown_whole(
    browsing: BrowsingMaker,
) -> None:
    """The gap that such a job's stream begins with names its end; the page waits for the end itself, and its result."""
    async with browsing(DEMO_TOKENS_PER_SECOND="200") as user, RawRedis(user.stack.server.url) as raw:
        job_id = await user.submit("Write about the harbour")
        await user.some_text(30)
        await user.stack.notifier.kill()
        result = await _result(user, job_id)
        await raw("DEL", Keys().log(job_id))
        user.stack.notifier.start()
        await user.status("completed", seconds=40)
        assert await user.page.text("#text") == result


async def test_cancel_ends_the_job_and_keeps_what_came(browsing: BrowsingMaker) -> None:
    """One click: the job is cancelled within seconds, the partial text stays, the button goes dead."""
    async with browsing(DEMO_TOKENS_PER_SECOND="5") as user:
        job_id = await user.submit("Write about the harbour")
        before = await user.some_text(15)
        await user.page.click("#cancel")
        await user.status("cancelled", seconds=5)
        assert (await user.page.text("#text")).startswith(before)
        assert await user.page.evaluate("document.getElementById('cancel').disabled") is True
        assert (await user.stack.end(job_id))["status"] == "cancelled"


async def test_a_job_that_fails_says_so(browsing: BrowsingMaker) -> None:
    """Every attempt fails: the page says that it failed, and why in our words."""
    async with browsing(DEMO_FAILURE_RATE="1", MAX_ATTEMPTS="1", DEMO_TOKENS_PER_SECOND="0") as user:
        job_id = await user.submit("Write about the harbour", "short")
        await user.status("failed", seconds=30)
        assert await user.page.text("#error") == (await user.stack.end(job_id))["error"]["message"]


async def test_markup_in_a_prompt_is_text(browsing: BrowsingMaker) -> None:
    """A prompt full of HTML is shown as text; no element of it comes into being and nothing of it runs."""
    hostile = "Write about <img src=x onerror=hacked=1><script>hacked=1</script>"
    async with browsing(DEMO_TOKENS_PER_SECOND="0") as user:
        job_id = await user.submit(hostile, "short")
        await user.status("completed")
        result = await _result(user, job_id)
        assert await user.page.text("#text") == result
        assert await user.page.evaluate("document.querySelectorAll('#text *').length") == 0
        assert await user.page.evaluate("document.querySelectorAll('main img, main script').length") == 0
        assert await user.page.evaluate("window.hacked === undefined") is True
    assert "<script>hacked=1</script>" in result


async def test_a_refusal_of_the_gateway_is_shown(browsing: BrowsingMaker) -> None:
    """A bad request is not repeated: its problem document is shown, and the form can be sent again."""
    async with browsing(DEMO_TOKENS_PER_SECOND="0") as user:
        await user.page.evaluate("document.querySelector('[name=priority] option').value = 'urgent'")
        await user.page.fill("#prompt", "Write about the harbour")
        await user.page.fill("[name=priority]", "urgent")
        await user.page.click("#submit")
        assert "not valid" in await user.page.until("document.getElementById('error').textContent")
        assert await user.page.evaluate("document.getElementById('submit').disabled") is False
        await user.page.fill("[name=priority]", "normal")
        await user.submit("Write about the harbour", "short")
        await user.status("completed")
