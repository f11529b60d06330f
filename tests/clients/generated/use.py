# mypy: ignore-errors
"""Submits, waits and streams with the client that openapi-python-client made; prints one JSON line."""

from __future__ import annotations

import json
import sys

from presswork_api import AuthenticatedClient
from presswork_api.api.jobs import job_events, job_status, submit_job
from presswork_api.models import (
    Accepted,
    CompletedEvent,
    DeltaEvent,
    JobRequest,
    JobRequestParameters,
    JobView,
    ProblemDetails,
    ProcessingEvent,
)

EVENTS = {"processing": ProcessingEvent, "delta": DeltaEvent, "completed": CompletedEvent}


def stream(client: AuthenticatedClient, job_id: str) -> tuple[str, str]:
    """The text of the deltas, and the result."""
    text, end, fields = "", "", {}
    with client.get_httpx_client().stream(**job_events._get_kwargs(job_id=job_id)) as answer:
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
                continue
            fields, message = {}, fields
            if (kind := EVENTS.get(message.get("event"))) is None:
                continue
            event = kind.from_dict(message | {"data": json.loads(message["data"])})
            if isinstance(event, ProcessingEvent):
                text = ""
            elif isinstance(event, DeltaEvent):
                text += event.data.text
            else:
                end = event.data.result
    return text, end


def main(url: str, token: str) -> None:
    """Do all three, and one call that is refused."""
    client = AuthenticatedClient(base_url=url, token=token)
    parameters = JobRequestParameters.from_dict({"platform": "linkedin", "length": "short", "keywords": ["coffee"]})
    body = JobRequest(project_id="project-123", user_id="user-456", prompt="Write a post", parameters=parameters)
    accepted = submit_job.sync(client=client, body=body, idempotency_key="generated")
    assert isinstance(accepted, Accepted)

    text, end = stream(client, accepted.job_id)
    job = job_status.sync(client=client, job_id=accepted.job_id, wait=10)
    refused = job_status.sync(client=client, job_id=f"{accepted.job_id[:-1]}!")
    assert isinstance(job, JobView)
    assert isinstance(refused, ProblemDetails)
    print(
        json.dumps(
            {
                "jobId": accepted.job_id, "text": text, "end": end, "status": job.status, "result": job.result,
                "problem": refused.type_, "created": job.created_at.timestamp(),
            }
        )
    )  # fmt: skip


main(*sys.argv[1:])
