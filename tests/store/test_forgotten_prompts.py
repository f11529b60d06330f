"""The prompt of an ended job leaves its record in every form, and the rest stays byte for byte."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from shared.conversation import Role, Turn
from shared.job import Effort, JobStatus
from shared.response_options import ResponseOptions
from shared.store.job_store import JobStore
from shared.store.transitions import _without_texts
from tests.support.checks import RawRedis
from tests.support.store import KEYS, claim, claim_one, fail, new_job, settle

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)

ODD = 'a "quoted" \\ back\\\\slash \n\t{[,:]}\x01 "prompt":"" ü 漢 😀 \\"'

SPECS: dict[str, dict[str, Any]] = {
    "plain": {},
    "odd text": {"prompt": ODD},
    "ends with a backslash": {"prompt": "x\\", "parameters": {"a\\": "b\\"}},
    "parameters": {"parameters": {"tone": ODD, "tags": ["a", ODD], "n": 1.5, "yes": True}},
    "turns": {"prompt": ODD, "turns": [Turn(Role.USER, 3), Turn(Role.ASSISTANT, 5)], "instructions": ODD},
    "metadata": {
        "metadata": {
            "prompt": "not this one",
            "empty": [],
            "none": {},
            "deep": [{"prompt": ODD, "a": [[], [1, [2]]]}],
            "big": 12345678901234567,
            "small": 1e-7,
            "null": None,
            "false": False,
            "": ODD,
        }
    },
    "everything": {
        "prompt": ODD,
        "parameters": {"b": ODD},
        "metadata": {"x": [ODD]},
        "max_tokens": 5,
        "temperature": 0.1,
        "effort": Effort.LOW,
        "providers": ["demo:demo"],
        "turns": [Turn(Role.USER, 1)],
        "instructions": ODD,
        "response": ResponseOptions(background=True, previous_response_id="ai-job-1"),
        "response_schema": {"type": "object", "properties": {"prompt": {"type": "string", "enum": [ODD]}}},
    },
    "a schema": {"response_schema": {"type": "object", "description": ODD}},
}


@pytest.mark.parametrize("name", SPECS)
async def test_only_the_texts_go(store: JobStore, raw: RawRedis, name: str) -> None:
    """As in the record of a completed job, whatever the texts and the customer's metadata hold."""
    await settle(store, "org", prompt_seconds=0)
    job = new_job(**SPECS[name])
    await store.submit(job)
    (held,) = await claim(store)
    await fail(store, held)
    kept = _without_texts(job.spec)
    assert await raw("HGET", KEYS.job(job.id), "spec") == msgspec.json.encode(kept)
    assert int(await raw("HGET", KEYS.job(job.id), "prompt_gone")) == len(job.spec.prompt.encode())


async def test_a_long_prompt_keeps_the_server_for_no_time(store: JobStore, raw: RawRedis) -> None:
    """The longest body there can be, full of quotes, takes a few ms."""
    await settle(store, "org", prompt_seconds=0)
    held = await claim_one(store)
    spec = json.dumps({"projectId": "p", "prompt": '"' * 128_000}, separators=(",", ":"))
    await raw("HSET", KEYS.job(held.job_id), "spec", spec)
    await raw("CONFIG", "RESETSTAT")
    await store.cancel(held.job_id, force=True)
    text = (await raw("INFO", "commandstats")).decode()
    spent = sum(int(line.split("usec=")[1].split(",")[0]) for line in text.splitlines() if "cmdstat_evalsha" in line)
    assert spent < 150_000
    assert await raw("HGET", KEYS.job(held.job_id), "spec") == b'{"projectId":"p","prompt":""}'


async def test_a_damaged_specification_is_left_as_it_is(store: JobStore, raw: RawRedis) -> None:
    """The job ends nevertheless."""
    await settle(store, "org", prompt_seconds=0, result_seconds=60)
    held = await claim_one(store)
    await raw("HSET", KEYS.job(held.job_id), "spec", '{"projectId":"p","prompt":"without an end')
    await store.cancel(held.job_id, force=True)
    assert await raw("HGET", KEYS.job(held.job_id), "state") == JobStatus.CANCELLED.encode()


async def test_an_estimate_still_counts_the_prompt(store: JobStore, raw: RawRedis) -> None:
    """The audit books what a worker never reported: with the size of the prompt that is gone."""
    await settle(store, "org", prompt_seconds=0)
    await store.submit(new_job(prompt="x" * 400))
    (held,) = await claim(store)
    await store.append(held, 2, "y" * 40)
    await store.cancel(held.job_id, force=True)
    long_ago = int((await raw("TIME"))[0]) * 1000 - 60_000
    await raw("HSET", KEYS.job(held.job_id), "gate", "demo:demo", "ended", long_ago)
    await store.maintenance.audit("w1")
    snapshot = await store.status(held.job_id)
    assert snapshot is not None
    assert snapshot.outcome is not None
    assert snapshot.outcome.usage is not None
    assert (snapshot.outcome.usage.input_tokens, snapshot.outcome.usage.output_tokens) == (100, 10)
