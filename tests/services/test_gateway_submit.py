"""Submitting: the promise of a 202, the fields of the job, idempotency keys and batches."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from shared.job import JobStatus, Priority
from shared.job_ids import JOB_ID
from shared.store.job_store import JobStore
from tests.support.gateway import BATCH, STATUS, SUBMIT, body, fields, problem, running_gateway


async def test_a_submit_answers_id_status_links_and_location(redis_url: str) -> None:
    """The guide's submit gets 202 with an id of the guide's form, and links that lead somewhere."""
    async with running_gateway(redis_url) as client:
        answer = await client.post(SUBMIT, json=body(priority="high", parameters={"tone": "professional"}))
        assert answer.status_code == 202
        job = answer.json()
        assert JOB_ID.match(job["jobId"])
        assert job["status"] == "queued"
        assert answer.headers["location"] == job["links"]["status"] == f"{STATUS}?jobId={job['jobId']}"
        assert job["links"]["events"] == f"/api/ai/job-events?jobId={job['jobId']}"
        assert (await client.get(job["links"]["status"])).json()["jobId"] == job["jobId"]
        assert (await client.post(job["links"]["cancel"])).json()["status"] == "cancelled"


async def test_the_events_link_names_the_notifiers_origin(redis_url: str) -> None:
    """PUBLIC_EVENTS_URL, with or without a slash at its end, begins the events link."""
    async with running_gateway(redis_url, PUBLIC_EVENTS_URL="https://events.example.org/") as client:
        job = (await client.post(SUBMIT, json=body())).json()
        assert job["links"]["events"] == f"https://events.example.org/api/ai/job-events?jobId={job['jobId']}"


async def test_everything_a_body_says_reaches_the_job(redis_url: str, store: JobStore) -> None:
    """All optional fields arrive in the record as they were sent, the trace context among them."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    parameters = {"tone": "warm", "count": 3, "ratio": 1.5, "emoji": True, "tags": ["a", 1, False]}
    sent = body(
        parameters=parameters, priority="low", provider="demo", model="demo", maxTokens=77, temperature=0.5,
        effort="high", maxAttempts=7, timeoutSeconds=12.5, metadata={"campaign": {"id": 1}}, deadlineSeconds=60,
    )  # fmt: skip
    async with running_gateway(redis_url) as client:
        job_id = (await client.post(SUBMIT, json=sent, headers={"traceparent": trace})).json()["jobId"]
        job = await store.status(job_id)
    assert job is not None
    spec = job.spec
    assert (spec.parameters, spec.priority) == (parameters, Priority.LOW)
    assert (spec.provider, spec.model, spec.max_tokens, spec.temperature) == ("demo", "demo", 77, 0.5)
    assert spec.effort == "high"
    assert (spec.max_attempts, spec.timeout_seconds, spec.metadata) == (7, 12.5, {"campaign": {"id": 1}})
    assert spec.traceparent == trace
    assert job.deadline_ms - job.created_ms == 60_000


async def test_settings_fill_what_a_body_leaves_out(redis_url: str, store: JobStore) -> None:
    """Attempts, time-out and deadline come from the settings; a delay moves the default deadline."""
    settings = {"MAX_ATTEMPTS": "4", "JOB_TIMEOUT_SECONDS": "33", "DEADLINE_SECONDS": "100"}
    async with running_gateway(redis_url, **settings) as client:
        job_id = (await client.post(SUBMIT, json=body(delaySeconds=50))).json()["jobId"]
        job = await store.status(job_id)
        stats = (await client.get("/api/ai/queue-stats")).json()["stats"]
    assert job is not None
    assert (job.spec.max_attempts, job.spec.timeout_seconds) == (4, 33)
    assert job.deadline_ms - job.created_ms == 150_000
    assert job.next_attempt_ms == job.created_ms + 50_000
    assert (stats["queued"], stats["delayed"]) == (1, 1)


async def test_an_ill_formed_trace_context_is_left_out(redis_url: str, store: JobStore) -> None:
    """A malformed traceparent is no reason to refuse a job, and is not stored."""
    async with running_gateway(redis_url) as client:
        answer = await client.post(SUBMIT, json=body(), headers={"traceparent": "00-" + "0" * 32 + "-x-01"})
        job = await store.status(answer.json()["jobId"])
    assert job is not None
    assert job.spec.traceparent is None


async def test_a_key_used_100_times_at_once_makes_one_job(redis_url: str) -> None:
    """100 submits with one Idempotency-Key at the same time all answer the same job, which exists once."""

    async def submit(client: httpx.AsyncClient) -> httpx.Response:
        # On a busy machine an answer may come too late for the gateway, and be 503: the key is for that.
        while (
            answer := await client.post(SUBMIT, json=body(), headers={"Idempotency-Key": "order 7"})
        ).is_server_error:
            pass
        return answer

    async with running_gateway(redis_url) as client:
        answers = await asyncio.gather(*(submit(client) for _ in range(100)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["jobId"] for answer in answers}) == 1
        assert (await client.get("/api/ai/queue-stats")).json()["stats"]["queued"] == 1
        metrics = (await client.get("/metrics")).text
    assert 'presswork_jobs_submitted_total{priority="normal"} 1.0' in metrics


async def test_a_key_with_another_body_is_a_conflict(redis_url: str) -> None:
    """The same key with another prompt is 409; with the same body written in another order it is the same job."""
    async with running_gateway(redis_url) as client:
        key = {"Idempotency-Key": "k"}
        first = (await client.post(SUBMIT, json=body(), headers=key)).json()
        reordered = dict(reversed(body().items()))
        assert (await client.post(SUBMIT, json=reordered, headers=key)).json()["jobId"] == first["jobId"]
        problem(await client.post(SUBMIT, json=body(prompt="Another"), headers=key), 409, "idempotency-conflict")


async def test_keys_of_two_organizations_have_nothing_to_do_with_each_other(redis_url: str) -> None:
    """One key used by two organisations makes two jobs."""
    async with running_gateway(redis_url) as client:
        key = {"Idempotency-Key": "k"}
        first = (await client.post(SUBMIT, json=body(organizationId="a"), headers=key)).json()
        second = (await client.post(SUBMIT, json=body(organizationId="b"), headers=key)).json()
        assert first["jobId"] != second["jobId"]


async def test_a_batch_keeps_order_and_a_bad_job_spoils_no_other(redis_url: str, store: JobStore) -> None:
    """Each job of a batch gets its own answer at its own place: an id, or a problem that names its fields."""
    jobs = [body(prompt="first"), body(prompt=""), 5, body(prompt="last"), body(organizationId="no spaces")]
    async with running_gateway(redis_url) as client:
        answer = await client.post(BATCH, json={"jobs": jobs})
        assert answer.status_code == 202
        first, empty, number, last, org = answer.json()["jobs"]
        for accepted, prompt in ((first, "first"), (last, "last")):
            job = await store.status(accepted["jobId"])
            assert job is not None
            assert (job.spec.prompt, job.status) == (prompt, JobStatus.QUEUED)
            assert accepted["status"] == "queued"
        assert [error["field"] for error in empty["error"]["errors"]] == ["jobs[1].prompt"]
        assert [error["field"] for error in number["error"]["errors"]] == ["jobs[2]"]
        assert [error["field"] for error in org["error"]["errors"]] == ["jobs[4].organizationId"]
        assert {empty["error"]["status"], number["error"]["status"], org["error"]["status"]} == {400}
        assert (await client.get("/api/ai/queue-stats")).json()["stats"]["queued"] == 2


async def test_jobs_of_a_batch_carry_keys_of_their_own(redis_url: str) -> None:
    """In a batch and in a single submit one key with one body means one job; with another body it is refused alone."""
    async with running_gateway(redis_url) as client:
        single = (await client.post(SUBMIT, json=body(), headers={"Idempotency-Key": "k"})).json()
        jobs = [body(idempotencyKey="k"), body(idempotencyKey="k", prompt="Another"), body(idempotencyKey="other")]
        same, conflict, other = (await client.post(BATCH, json={"jobs": jobs})).json()["jobs"]
        assert same["jobId"] == single["jobId"]
        assert conflict["error"]["type"] == "urn:presswork:problem:idempotency-conflict"
        assert other["jobId"] != single["jobId"]


async def test_a_batch_of_500_is_taken_and_501_are_not(redis_url: str) -> None:
    """The batch limit of the contract is exact, and a batch over it queues nothing."""
    async with running_gateway(redis_url) as client:
        problem(await client.post(BATCH, json={"jobs": [body()] * 501}), 400, "invalid-request")
        assert (await client.get("/api/ai/queue-stats")).json()["stats"]["queued"] == 0
        answers = (await client.post(BATCH, json={"jobs": [body()] * 500})).json()["jobs"]
        assert len({answer["jobId"] for answer in answers}) == 500
        assert (await client.get("/api/ai/queue-stats")).json()["stats"]["queued"] == 500


async def test_only_served_models_may_be_named(redis_url: str) -> None:
    """PROVIDERS decides which provider and model a body may ask for; a model alone may be anybody's."""
    async with running_gateway(redis_url, PROVIDERS="openai:gpt-x, anthropic:claude-y,demo") as client:
        for good in ({"provider": "openai"}, {"provider": "openai", "model": "gpt-x"}, {"model": "claude-y"}):
            assert (await client.post(SUBMIT, json=body(**good))).status_code == 202
        for field, bad in (
            ("provider", {"provider": "nobody"}),
            ("model", {"provider": "openai", "model": "claude-y"}),
            ("model", {"model": "gpt-z"}),
        ):
            document = problem(await client.post(SUBMIT, json=body(**bad)), 400, "invalid-request")
            assert [error["field"] for error in document["errors"]] == [field]


async def test_a_body_may_bring_its_own_chain_of_providers(redis_url: str, store: JobStore) -> None:
    """`providers` reaches the job in its order; alone, or in a batch; it takes part in the idempotency fingerprint."""
    chain = ["anthropic:claude-y", "openai:gpt-x"]
    async with running_gateway(redis_url, PROVIDERS="openai:gpt-x,anthropic:claude-y") as client:
        headers = {"Idempotency-Key": "k"}
        single = (await client.post(SUBMIT, json=body(providers=chain), headers=headers)).json()
        (batched,) = (await client.post(BATCH, json={"jobs": [body(providers=chain[:1])]})).json()["jobs"]
        problem(
            await client.post(SUBMIT, json=body(providers=chain[::-1]), headers=headers), 409, "idempotency-conflict"
        )
        specs = [await store.status(job["jobId"]) for job in (single, batched)]
    assert [job.spec.providers for job in specs if job is not None] == [chain, chain[:1]]


@pytest.mark.parametrize(
    ("chain", "bad"),
    [
        ({"providers": []}, {"providers"}),
        ({"providers": "openai:gpt-x"}, {"providers"}),
        ({"providers": ["openai:gpt-x"] * 9}, {"providers"}),
        ({"providers": ["openai:gpt-x", 3]}, {"providers[1]"}),
        ({"providers": [""]}, {"providers[0]"}),
        ({"providers": ["openai"]}, {"providers[0]"}),
        ({"providers": ["openai:claude-y", "openai:gpt-x ", "nobody:x"]}, {f"providers[{i}]" for i in range(3)}),
        ({"providers": ["openai:gpt-x", "anthropic:claude-y", "openai:gpt-x"]}, {"providers[2]"}),
        ({"providers": ["openai:gpt-x"], "provider": "openai"}, {"providers"}),
        ({"providers": ["openai:gpt-x"], "model": "gpt-x"}, {"providers"}),
    ],
)
async def test_a_bad_chain_names_its_place(redis_url: str, chain: dict[str, object], bad: set[str]) -> None:
    """Only served `provider:model` names, each once, one to eight of them, and without `provider` or `model`."""
    async with running_gateway(redis_url, PROVIDERS="openai:gpt-x,anthropic:claude-y") as client:
        assert fields(problem(await client.post(SUBMIT, json=body(**chain)), 400, "invalid-request")) == bad
