"""The request of a job, as it can be submitted again."""

from __future__ import annotations

from tests.support.gateway import SUBMIT, body, problem, running_gateway


async def test_a_request_can_be_submitted_again_as_it_was(redis_url: str) -> None:
    """Prompt, parameters and choices come back, also of a cancelled job, and make the same job once more."""
    given = body(
        parameters={"tone": "calm", "tags": ["a", "b"]}, priority="high", providers=["demo:demo"], maxTokens=50,
        temperature=0.5, maxAttempts=2, timeoutSeconds=60.0, metadata={"a": [1]}, prompt="<script>alert(1)</script>",
    )  # fmt: skip
    async with running_gateway(redis_url) as client:
        job = (await client.post(SUBMIT, json=given)).json()["jobId"]
        request = (await client.get(f"/api/ai/jobs/{job}/request")).json()
        assert request == given
        again = (await client.post(SUBMIT, json=request)).json()["jobId"]
        assert (await client.get(f"/api/ai/jobs/{again}/request")).json() == given


async def test_the_request_of_an_unknown_job_is_not_found(redis_url: str) -> None:
    """As everywhere: a text that is no id, and an id of nothing."""
    async with running_gateway(redis_url) as client:
        for job in ("nothing", "ai-job-1737465123456-0bc123def"):
            problem(await client.get(f"/api/ai/jobs/{job}/request"), 404, "not-found")
