"""Events and jobs that the services send match the schemas of the OpenAPI document."""

from __future__ import annotations

import asyncio
from typing import Any

import jsonschema_rs

from tests.e2e.conftest import StackMaker
from tests.support.sse import Stream, follow
from tests.support.stack import Stack

FAILURES = {"DEMO_FAILURE_RATE": "0.5", "DEMO_TOKENS_PER_SECOND": "0", "DEMO_FIRST_TOKEN_MS": "0"}
ENDS = {"retrying", "completed", "failed", "cancelled"}
UNKNOWN = "1-1.1"
"""A cursor that no log holds."""


async def _schema(running: Stack, name: str) -> jsonschema_rs.Validator:
    document = (await running.client.get(f"{running.gateway.url}/openapi.json")).json()
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(schema)


async def _events(running: Stack, job_id: str) -> list[dict[str, Any]]:
    """A job's events from the gateway's own origin, as the document describes them."""
    url = f"{running.gateway.url}/api/ai/job-events?jobId={job_id}"
    return [{"event": event.kind, "id": event.id, "data": event.data} for event in await follow(url)]


async def _gap(running: Stack, job_id: str) -> dict[str, Any]:
    async with Stream(f"{running.gateway.url}/api/ai/job-events?jobId={job_id}", last_event_id=UNKNOWN) as stream:
        gap = await stream.next()
    assert gap is not None
    return {"event": gap.kind, "data": gap.data}


async def test_every_event_and_job_is_as_the_document_says(stack: StackMaker) -> None:
    """Completed, failed, cancelled and repeated jobs, and a gap: each event matches one schema, each job JobView."""
    async with stack(**FAILURES) as running:
        event, view = await _schema(running, "JobEvent"), await _schema(running, "JobView")
        waiting = await running.submit(0, delaySeconds=600)
        await running.front.cancel(waiting)
        seen, ids = await _events(running, waiting), [waiting]
        # Chance decides how an attempt ends: as many jobs as it takes until each kind of end was seen.
        while not {found["event"] for found in seen} >= ENDS:
            more = await asyncio.gather(*(running.submit(len(ids) + n, maxAttempts=2) for n in range(6)))
            seen += [found for job_id in more for found in await _events(running, job_id)]
            ids += more

        seen.append(await _gap(running, ids[-1]))
        jobs = list((await running.front.ends(ids)).values())

    for found in seen:
        event.validate(found)
    for job in jobs:
        view.validate(job)
    kinds = {found["event"] for found in seen}
    assert kinds == {"queued", "processing", "delta", "retrying", "completed", "failed", "cancelled", "gap"}
