"""Jobs that bring messages and instructions instead of one prompt."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shared.conversation import Message, Role, cut
from shared.job import JobSpec, JobStatus, Outcome
from shared.store.job_store import JobStore
from shared.store.transitions import Finish
from tests.support.gateway import BATCH, SUBMIT, body, fields, problem, running_gateway

MESSAGES: list[dict[str, str]] = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Name a fruit"},
    {"role": "assistant", "content": "Quince"},
    {"role": "user", "content": "Another"},
]


def conversation(**changes: Any) -> dict[str, Any]:
    """A good body with messages."""
    good = body(messages=MESSAGES, instructions="Sound warm.")
    del good["prompt"]
    return good | changes


async def test_messages_reach_the_job(redis_url: str, store: JobStore) -> None:
    """Alone and in a batch; its prompt is the whole text, for everything that measures one."""
    async with running_gateway(redis_url) as client:
        one = (await client.post(SUBMIT, json=conversation())).json()["jobId"]
        many = (await client.post(BATCH, json={"jobs": [conversation()]})).json()["jobs"]
        for job_id in (one, many[0]["jobId"]):
            job = await store.status(job_id)
            assert job is not None
            assert job.spec.prompt == "Be brief.\n\nName a fruit\n\nQuince\n\nAnother"
            assert job.spec.instructions == "Sound warm."
            heard = cut(job.spec.prompt, job.spec.turns or ())
            assert heard == [Message(Role(message["role"]), message["content"]) for message in MESSAGES]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prompt": "and this"}, "prompt"),
        ({"messages": None}, "prompt"),
        ({"messages": []}, "messages"),
        ({"messages": [MESSAGES[0], MESSAGES[2]]}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x" * 65_536}] * 3 + MESSAGES}, "messages"),
        ({"messages": [MESSAGES[1], {"role": "user", "content": "é" * 32_769}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": "x", "name": "me"}]}, "messages[0].name"),
        ({"messages": [{"role": "user", "content": "nul \0"}]}, "messages"),
        ({"instructions": ""}, "instructions"),
        ({"instructions": "é" * 32_769}, "instructions"),
    ],
)
async def test_bad_messages_are_named(redis_url: str, changes: dict[str, Any], field: str) -> None:
    """Each fault of a conversation names its field."""
    async with running_gateway(redis_url) as client:
        answer = await client.post(SUBMIT, json=conversation(**changes))
        assert field in fields(problem(answer, 400, "invalid-request"))


async def test_an_idempotency_key_covers_messages(redis_url: str) -> None:
    """The same messages give the same job, others a conflict."""
    key = {"Idempotency-Key": "k"}
    async with running_gateway(redis_url) as client:
        first = (await client.post(SUBMIT, json=conversation(), headers=key)).json()
        again = (await client.post(SUBMIT, json=conversation(), headers=key)).json()
        other = await client.post(SUBMIT, json=conversation(messages=MESSAGES[1:]), headers=key)
    assert again["jobId"] == first["jobId"]
    problem(other, 409, "idempotency-conflict")


def test_a_plain_prompt_is_stored_as_before() -> None:
    """Not a byte more than in the release before, which reads it; and its records are read."""
    spec = JobSpec(project_id="p", user_id="u", organization_id="o", prompt="Write")
    stored = b'{"projectId":"p","userId":"u","organizationId":"o","prompt":"Write"}'
    assert msgspec.json.encode(spec) == stored
    assert msgspec.json.decode(stored, type=JobSpec) == spec


async def test_an_ended_job_keeps_nothing_of_a_conversation(redis_url: str, store: JobStore) -> None:
    """Messages and instructions go with the prompt."""
    async with running_gateway(redis_url) as client:
        job_id = (await client.post(SUBMIT, json=conversation())).json()["jobId"]
        (claim,) = (await store.claim("w", 1, poll=True, suspect=0)).claims
        await store.finish(Finish(claim, JobStatus.COMPLETED, Outcome(result="Fig"), number=1, offset=0, run_ms=1))
        job = await store.status(job_id)
    assert job is not None
    assert (job.spec.prompt, job.spec.turns, job.spec.instructions) == ("", None, None)
