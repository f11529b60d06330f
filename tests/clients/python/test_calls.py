"""Calls of both clients: one job however often a submit is sent, errors by type, and every method once."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from datetime import date

import pytest
from presswork_client import (
    AsyncJob,
    AsyncPresswork,
    Conflict,
    Forbidden,
    IdempotencyConflict,
    InvalidRequest,
    Job,
    JobCancelled,
    JobEnded,
    JobFailed,
    JobNotFailed,
    NotFound,
    Presswork,
    Problem,
    Unauthorized,
    UnexpectedAnswer,
    WaitTimeout,
)
from presswork_client.problems import BY_SLUG, BY_STATUS, problem

from shared.http import problems
from tests.e2e.conftest import StackMaker
from tests.support.callers import OPERATOR, TOKENS
from tests.support.cutting_proxy import running_cutting_proxy

pytestmark = pytest.mark.timeout(300)

UNKNOWN = "ai-job-1737465123456-0bc123def"


async def test_a_lost_answer_makes_no_second_job(stack: StackMaker) -> None:
    """The first three answers of each of ten submits are cut: ten jobs, also in a batch, and in ordinary code."""
    turn = itertools.count()

    def lives(request: bytes) -> int | None:
        return 1 if b"generate-content" in request and next(turn) % 4 < 3 else None

    async with stack() as running, running_cutting_proxy(running.gateway.url, lives) as proxy:
        async with AsyncPresswork(proxy.url) as client:
            jobs: list[object] = [await client.submit(f"Write {number}", length="short") for number in range(4)]
            jobs += await client.submit_many([{"prompt": "Write", "length": "short"}, "Write"])

        def submit() -> list[Job | Problem]:
            with Presswork(proxy.url) as client:
                return [*client.submit_many(["Write"] * 2), client.submit("Write"), client.submit("Write")]

        jobs += await asyncio.to_thread(submit)
        stats = await running.stats()
    ids = {job.id for job in jobs if isinstance(job, (AsyncJob, Job))}
    assert (len(jobs), len(ids), proxy.cuts) == (10, 10, 24)
    assert sum(stats[name] for name in ("queued", "processing", "completed")) == 10


async def test_a_batch_is_answered_in_order(stack: StackMaker) -> None:
    """600 jobs in two calls; one that is refused is an error at its place, and does not affect the others."""
    async with stack(DEMO_TOKENS_PER_SECOND="0") as running, AsyncPresswork(running.gateway.url) as client:
        wanted = [f"Write {number}" if number != 510 else "" for number in range(600)]
        found = await client.submit_many(wanted)
        refused = [number for number, one in enumerate(found) if isinstance(one, Problem)]
        jobs = [one for one in found if isinstance(one, AsyncJob)]
        view = await jobs[-1].result()
    assert (len(found), len(jobs), refused) == (600, 599, [510])
    assert isinstance(found[510], InvalidRequest)
    assert found[510].errors[0].field.endswith("prompt")
    assert view.ended


async def test_every_method_once(stack: StackMaker) -> None:
    """Ordinary code: options arrive, and each call answers what it says."""
    settings = {"DEMO_TOKENS_PER_SECOND": "200", "API_TOKENS": TOKENS}
    async with stack(**settings) as running:
        await asyncio.to_thread(_every_method, running.gateway.url, OPERATOR)


def _every_method(url: str, key: str) -> None:
    with Presswork(url, key, organization="alice", project="site", user="jane") as client:
        job = client.submit(
            "Write a post", platform="x", parameters={"audience": "bakers"}, priority="high", max_attempts=2,
            metadata={"campaign": 7}, timeout_seconds=60,
        )  # fmt: skip
        view = job.result(timeout=30)
        assert (view.status, view.text) == ("completed", job.text())
        assert (view.project_id, view.user_id, view.organization_id) == ("site", "jane", "alice")
        assert (view.priority, view.max_attempts, view.request_metadata) == ("high", 2, {"campaign": 7})
        assert view.usage is not None
        assert view.usage.output_tokens > 0
        assert view.created_at is not None
        assert view.created_at.tzinfo is not None
        assert job.status(wait=1) == view

        assert [row.job_id for row in client.jobs(status="completed")] == [job.id]
        assert client.job(job.id).ticket().startswith(f"{url}/api/ai/job-events?")
        assert client.stats()["completed"] == 1
        report = client.usage(date(2000, 1, 1), date(2000, 1, 2))
        assert (report.first, report.totals.jobs, report.rows) == (date(2000, 1, 1), 0, ())
        report = client.usage()
        assert (report.totals.jobs, report.rows[0].project_id) == (1, "site")

        waiting = client.submit("Write later", delay_seconds=600)
        with pytest.raises(WaitTimeout):
            waiting.result(timeout=0.2)
        assert waiting.cancel().status == "cancelled"
        assert waiting.cancel().status == "cancelled"
        with pytest.raises(JobCancelled) as cancelled:
            waiting.text()
        assert cancelled.value.view.job_id == waiting.id
        again = waiting.retry()
        assert again.id == waiting.retry().id != waiting.id
        again.delete()
        assert client.call("GET", "/api/admin/keys") == {"keys": []}


async def test_refusals_are_errors_of_their_type(stack: StackMaker) -> None:
    """Each names what is wrong; none is repeated."""
    async with stack(DEMO_TOKENS_PER_SECOND="0", API_TOKENS=TOKENS) as running:
        url = running.gateway.url
        async with AsyncPresswork(url, OPERATOR) as operator:
            wanted = {"organizationId": "alice", "scopes": ["jobs:write", "jobs:read", "jobs:cancel"]}
            made = await operator.call("POST", "/api/admin/keys", body=wanted)
        async with AsyncPresswork(url, made["key"]) as client:
            job = await client.submit("Write", idempotency_key="one")
            await job.result()
            refusals: list[tuple[Callable[[], object], type[Problem], str]] = [
                (lambda: client.submit(""), InvalidRequest, "prompt"),
                (lambda: client.submit("Other", idempotency_key="one"), IdempotencyConflict, "key"),
                (lambda: client.submit("Write", organization="bob"), Forbidden, "organizationId"),
                (lambda: client.job(UNKNOWN).status(), NotFound, "no such job"),
                (lambda: client.job("not an id").status(), NotFound, "no such job"),
                (job.cancel, JobEnded, "completed"),
                (job.retry, JobNotFailed, "completed"),
                (client.usage, Forbidden, "usage:read"),
                (lambda: client.call("GET", "/api/nothing"), NotFound, "nothing"),
            ]
            for call, kind, said in refusals:
                with pytest.raises(kind, match=said) as raised:
                    await call()  # type: ignore[misc]  # all of them are coroutines
                assert type(raised.value) is kind
        async with AsyncPresswork(url, "pw_wrong") as stranger:
            with pytest.raises(Unauthorized):
                await stranger.stats()


async def test_a_failed_job_is_an_error_with_its_reason(stack: StackMaker) -> None:
    """`result` and `text` raise; the error has the job as it ended; the last event has the same."""
    async with stack(DEMO_FAILURE_RATE="1") as running, AsyncPresswork(running.gateway.url) as client:
        job = await client.submit("Write", max_attempts=1)
        with pytest.raises(JobFailed) as raised:
            await job.text()
        events = [event async for event in job.events()]
    assert raised.value.view.error is not None
    assert raised.value.view.error.type in str(raised.value)
    assert events[-1].kind == "failed"


async def test_something_else_at_the_address_is_named(stack: StackMaker) -> None:
    """A service that is no gateway: the error says so, at once."""
    async with stack() as running, AsyncPresswork(f"{running.workers[0].url}/metrics?") as client:
        with pytest.raises((UnexpectedAnswer, NotFound)):
            await client.stats()


def test_an_option_that_does_not_exist_is_named() -> None:
    """A typing error is no parameter that is silently ignored."""
    with Presswork() as client, pytest.raises(TypeError, match="'maxtokens' is no option"):
        client.submit("Write", maxtokens=5)  # type: ignore[call-arg]  # the fault that is tested


def test_every_problem_of_the_service_has_its_error() -> None:
    """The catalogue of the service: none of its types is unknown here, and none here is unknown there."""
    kinds = [kind for kind in vars(problems).values() if isinstance(kind, problems.Kind)]
    assert len(kinds) > 20
    assert BY_SLUG.keys() - {"organization-paused"} <= {kind.slug for kind in kinds}
    for kind in kinds:
        made = problem(kind.status, {"type": kind.type, "title": kind.title, "status": kind.status})
        assert type(made) not in (Problem,), kind.slug
        assert (made.slug, made.title) == (kind.slug, kind.title)
        if kind.status == 409 and kind.slug.startswith(("job", "idem")):
            assert type(made) is not Conflict
    assert all(issubclass(kind, Problem) for kind in BY_STATUS.values())
