"""Requests for a stream: the right to open one, and their form."""

from __future__ import annotations

from pathlib import Path

import httpx
import msgspec
import pytest

from shared.http.auth import hash_token
from shared.job_ids import new_job_id
from shared.store.job_store import JobStore, open_store
from tests.support.job_life import JobLife
from tests.support.notifier import running_notifier
from tests.support.plain import NO_TLS
from tests.support.processes import ServiceProcess
from tests.support.sse import Stream

SITE = "https://app.example"


async def test_an_ill_formed_cursor_is_refused(store: JobStore) -> None:
    """A Last-Event-ID that never was an id of ours is a 400 that names it."""
    job = await JobLife(store).submit()
    async with running_notifier(store.settings) as notifier:
        for cursor in ("yesterday", "n1-0", "n1-0.1.2", "n1-0.-1", "N1-0.1", "1" * 5000, "n1-0.1\tx"):
            async with Stream(notifier.events(job.id), last_event_id=cursor) as stream:
                assert stream.status == 400
                assert stream.headers["content-type"] == "application/problem+json"
                assert (await stream.json())["errors"][0]["field"] == "Last-Event-ID"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("jobId=a&organizationId=b", 400),
        ("jobId=", 400),
        ("jobId=no-such-job", 404),
        ("jobId=a&jobId=b", 400),
        ("jobId=%00%ff", 400),
        ("jobId=ai-job-1737465123456-0bc123def", 404),
        ("&".join(["a=1"] * 10_000), 400),
        ("organizationId=org-1", 404),
    ],
)
async def test_a_request_that_names_no_stream_is_a_problem(store: JobStore, query: str, status: int) -> None:
    """Unreadable queries are 400, unknown jobs and disabled streams 404; each a problem document."""
    async with (
        running_notifier(store.settings) as notifier,
        Stream(f"{notifier.url}/api/ai/job-events?{query}") as stream,
    ):
        assert stream.status == status
        assert stream.headers["content-type"] == "application/problem+json"
        assert (await stream.json())["type"].startswith("urn:presswork:problem:")


async def test_only_get_is_allowed(store: JobStore) -> None:
    """Another method gets 405 and the name of the right one, OPTIONS the name alone."""
    async with running_notifier(store.settings) as notifier, httpx.AsyncClient(verify=NO_TLS) as client:
        answer = await client.post(notifier.events(new_job_id()), json={})
        options = await client.options(notifier.events(new_job_id()))
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, OPTIONS")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, OPTIONS")


async def test_tokens_open_only_the_streams_of_their_organisation(store: JobStore) -> None:
    """No token is a 401; the token of another organisation finds no such job (I9)."""
    job = await JobLife(store, organization_id="org-a").submit()
    tokens = f"{hash_token('a-token')} org-a\n{hash_token('b-token')} org-b\n{hash_token('all-token')}"
    expected = {None: 401, "wrong": 401, "b-token": 404, "a-token": 200, "all-token": 200}
    async with running_notifier(store.settings, api_tokens=tokens) as notifier:
        for token, status in expected.items():
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            async with Stream(notifier.events(job.id), headers=headers) as stream:
                assert stream.status == status, token
        unknown = await _problem(notifier.events(new_job_id()), "b-token")
        assert await _problem(notifier.events(job.id), "b-token") == unknown


async def _problem(url: str, token: str) -> dict[str, object]:
    async with Stream(url, headers={"Authorization": f"Bearer {token}"}) as stream:
        return await stream.json()


async def test_allowed_origins_may_read_the_stream(store: JobStore) -> None:
    """CORS_ALLOWED_ORIGINS lets those sites in, preflight included, and no other."""
    job = await JobLife(store).submit()
    async with running_notifier(store.settings, cors_allowed_origins=f"{SITE}, https://b.example") as notifier:
        async with Stream(notifier.events(job.id), headers={"Origin": SITE}) as stream:
            assert stream.headers["access-control-allow-origin"] == SITE
        async with Stream(notifier.events(new_job_id()), headers={"Origin": SITE}) as stream:
            assert (stream.status, stream.headers["access-control-allow-origin"]) == (404, SITE)
        async with Stream(notifier.events(job.id), headers={"Origin": "https://evil.example"}) as stream:
            assert "access-control-allow-origin" not in stream.headers
        asks = {
            "Origin": SITE,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization, last-event-id",
        }
        async with httpx.AsyncClient(verify=NO_TLS) as client:
            answer = await client.options(notifier.events(job.id), headers=asks)
    assert answer.status_code < 300
    assert answer.headers["access-control-allow-origin"] == SITE
    assert "last-event-id" in answer.headers["access-control-allow-headers"].lower()


async def test_without_the_setting_no_other_site_is_let_in(store: JobStore) -> None:
    """The default sends no CORS header."""
    job = await JobLife(store).submit()
    async with (
        running_notifier(store.settings) as notifier,
        Stream(notifier.events(job.id), headers={"Origin": SITE}) as stream,
    ):
        assert "access-control-allow-origin" not in stream.headers


async def test_one_stream_too_many_is_asked_to_come_later(store: JobStore) -> None:
    """At the limit a stream ends at once with a `retry:`; a status would stop the browser for good."""
    job = await JobLife(store).submit()
    async with (
        running_notifier(store.settings, notifier_max_connections=1) as notifier,
        Stream(notifier.events(job.id)) as first,
    ):
        await first.take(1)
        async with Stream(notifier.events(job.id)) as second:
            assert second.status == 200
            assert await second.rest() == []
            assert second.retry_ms is not None
            assert 1000 <= second.retry_ms <= 5000
        assert await notifier.connections() == 1


async def test_an_organisation_receives_events_of_all_its_jobs(store: JobStore) -> None:
    """With ORGANIZATION_EVENTS its stream carries the life cycle of its own jobs only, without text, and resumes."""
    settings = msgspec.structs.replace(store.settings, organization_events=True)
    async with running_notifier(settings) as notifier, open_store(settings, client_name="test") as emitting:
        url = f"{notifier.url}/api/ai/job-events?organizationId=org-1"
        async with Stream(url) as stream:
            other = await (await JobLife(emitting, organization_id="org-2").submit()).start()
            await other.complete("theirs")
            job = await (await JobLife(emitting).submit()).start()
            seen = await stream.take(2)
        await job.complete("secret text")
        async with Stream(url, last_event_id=stream.last_id) as resumed:
            seen += await resumed.take(1)
    assert [event.kind for event in seen] == ["queued", "processing", "completed"]
    assert {event.data["jobId"] for event in seen} == {job.id}
    assert "secret" not in str(seen)


async def test_a_first_break_of_an_organisations_stream_loses_nothing(store: JobStore) -> None:
    """Also a reader that was cut before it saw any event has a cursor to resume from."""
    settings = msgspec.structs.replace(store.settings, organization_events=True)
    async with running_notifier(settings) as notifier, open_store(settings, client_name="test") as emitting:
        url = f"{notifier.url}/api/ai/job-events?organizationId=org-1"
        await JobLife(emitting).submit()
        async with Stream(url) as stream:
            with pytest.raises(TimeoutError):
                await stream.take(1, seconds=0.3)
        await JobLife(emitting).submit()
        async with Stream(url, last_event_id=stream.last_id) as resumed:
            assert [event.kind for event in await resumed.take(1)] == ["queued"]


async def test_an_organisations_stream_tells_of_a_gap(store: JobStore) -> None:
    """A cursor that fell out of the newest 1,000 events, or outlived them, is a gap; then it goes on."""
    settings = msgspec.structs.replace(store.settings, organization_events=True)
    async with running_notifier(settings) as notifier, open_store(settings, client_name="test") as emitting:
        url = f"{notifier.url}/api/ai/job-events?organizationId=org-1"
        async with Stream(url, last_event_id="1737465123456-0") as stream:
            assert [event.kind for event in await stream.take(1)] == ["gap"]
            job = await JobLife(emitting).submit()
            (queued,) = await stream.take(1)
    assert (queued.kind, queued.data["jobId"]) == ("queued", job.id)


async def test_an_organisations_stream_is_for_its_own_token(store: JobStore) -> None:
    """The token of another organisation is refused (I9)."""
    settings = msgspec.structs.replace(store.settings, organization_events=True)
    tokens = f"{hash_token('a-token')} org-a\n{hash_token('b-token')} org-b"
    async with running_notifier(settings, api_tokens=tokens) as notifier:
        url = f"{notifier.url}/api/ai/job-events?organizationId=org-a"
        for token, status in (("a-token", 200), ("b-token", 403)):
            async with Stream(url, headers={"Authorization": f"Bearer {token}"}) as stream:
                assert stream.status == status


async def test_a_cursor_of_the_other_kind_of_stream_is_ill_formed(store: JobStore) -> None:
    """Ids of jobs and of organisations' streams are distinguished."""
    settings = msgspec.structs.replace(store.settings, organization_events=True)
    async with running_notifier(settings) as notifier:
        url = f"{notifier.url}/api/ai/job-events?organizationId=org-1"
        async with Stream(url, last_event_id="n1-0.1") as stream:
            assert stream.status == 400


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("NOTIFIER_MAX_CONNECTIONS", "0"),
        ("NOTIFIER_HEARTBEAT_SECONDS", "never"),
        ("NOTIFIER_HOST", "0.0.0.0"),  # noqa: S104 - refused, because nothing guards it
        ("API_TOKENS", "plain-token"),
        ("CORS_ALLOWED_ORIGINS", "https://app.example.com/page"),
    ],
)
async def test_a_bad_setting_stops_the_process_with_one_line(tmp_path: Path, setting: str, value: str) -> None:
    """Status 2 and one line that names the setting, not its value."""
    service = ServiceProcess("notifier", {"REDIS_URL": "redis://127.0.0.1:1", setting: value}, tmp_path / "log")
    service.start()
    assert await service.wait() == 2
    (line,) = service.log.read_text().splitlines()
    assert line.startswith("notifier: ")
    assert ("API_TOKENS" if setting == "NOTIFIER_HOST" else setting) in line
    assert "plain-token" not in line


@pytest.mark.parametrize(
    "cursor", ["18446744073709551616-0", "0-99999999999999999999", "\u0663-\u0661", "1-\u00b2", "-1-0"]
)
async def test_a_cursor_that_redis_could_not_read_is_no_cursor(store: JobStore, cursor: str) -> None:
    """Digits of other scripts and numbers beyond 64 bits are 400, not a stream that is asked to come back without
    end."""
    settings = msgspec.structs.replace(store.settings, organization_events=True)
    query = httpx.QueryParams({"organizationId": "org-1", "lastEventId": cursor})
    async with (
        running_notifier(settings) as notifier,
        Stream(f"{notifier.url}/api/ai/job-events?{query}") as stream,
    ):
        assert stream.status == 400
