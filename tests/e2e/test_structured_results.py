"""Structured results through the real services: streams, a killed worker, both kinds of readers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from presswork_client import AsyncPresswork, JobFailed, Retrying

from tests.e2e.conftest import StackMaker
from tests.support.checks import leaks
from tests.support.openai_sdk import kinds, last, open_sdk, read, request, text_of

LEASE = "2"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"headlines": {"type": "array", "items": {"type": "string"}, "minItems": 3}},
    "required": ["headlines"],
    "additionalProperties": False,
}
pytestmark = pytest.mark.timeout(300)


async def test_the_client_reads_the_result_as_json(stack: StackMaker) -> None:
    """By the demo provider, without a key; a mismatch is repaired, and a second one is the job's failure."""
    for mismatches in ("0", "1", "2"):
        async with (
            stack(DEMO_TOKENS_PER_SECOND="0", DEMO_MISMATCHES=mismatches) as running,
            AsyncPresswork(running.gateway.url) as client,
        ):
            job = await client.submit("Three headlines", response_schema=SCHEMA)
            if mismatches == "2":
                with pytest.raises(JobFailed) as failed:
                    await job.json()
                assert failed.value.view.error is not None
                assert failed.value.view.error.type == "SchemaMismatch"
            else:
                assert len((await job.json())["headlines"]) == 3
            reasons = [event.reason async for event in job.events() if isinstance(event, Retrying)]
            assert reasons == ["schema_mismatch"] * (mismatches != "0")
            assert await leaks(running.server.url) == []


async def test_a_worker_that_is_killed_in_the_repair_costs_no_second_one(stack: StackMaker) -> None:
    """The other worker repairs the same text; every reader has the last one alone."""
    settings = {"LEASE_SECONDS": LEASE, "DEMO_TOKENS_PER_SECOND": "30", "DEMO_MISMATCHES": "1"}
    async with stack(workers=2, **settings) as running, AsyncPresswork(running.gateway.url) as client:
        job = await client.submit("Three headlines", length="short", response_schema=SCHEMA)
        events, killed = [], False
        async for event in job.events():
            events.append(event)
            repairs = any(isinstance(before, Retrying) for before in events)
            if repairs and event.kind == "delta" and not killed:
                killed = True
                await (await running.busy_worker()).kill()
        view = await job.status()
        assert await leaks(running.server.url) == []

    assert killed
    assert [event.reason for event in events if isinstance(event, Retrying)] == ["schema_mismatch", "worker_lost"]
    assert (view.status, events[-1].so_far, view.attempt) == ("completed", view.text, 1)
    assert len(view.json()["headlines"]) == 3
    assert view.usage is not None
    assert view.usage.estimated  # of the text that the killed worker had written


async def test_a_response_streams_the_repaired_text(stack: StackMaker) -> None:
    """With `restart` the first text's item ends incomplete, and the repair's follows; the object has that alone."""
    settings = {"DEMO_TOKENS_PER_SECOND": "60", "DEMO_MISMATCHES": "1"}
    async with stack(**settings) as running, open_sdk(running.gateway.url) as sdk:
        form = {"type": "json_schema", "name": "headlines", "schema": SCHEMA}
        asked = request(stream=True, text={"format": form}, extra_body={"presswork": {"restart": True}})
        events = await read(await sdk.responses.create(**asked))

    assert kinds(events)[-1] == "completed"
    assert kinds(events).count("output_item.added") == 2
    assert text_of(events, 1) == last(events).output_text
    assert len(json.loads(last(events).output_text)["headlines"]) == 3
