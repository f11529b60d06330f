"""The raw calls as typed handlers, which Litestar can describe: for the OpenAPI document, never served.

The calls themselves are in `services/gateway/submit` and `shared/streams`; paths, structs and limits are from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, Operation, RequestBody
from litestar.params import HeaderParameter
from litestar.params import RequestBody as Body
from msgspec import Meta

from services.gateway.docs import examples
from services.gateway.http.calls import LOCATION
from services.gateway.http.json_schemas import described_operation, items_of
from services.gateway.http.responses import Accepted, JobId
from services.gateway.submit import batch, single
from services.gateway.submit.batch import BatchAccepted, BatchRejected
from services.gateway.submit.schemas import MAX_JOBS, MAX_KEY, BatchJob, JobRequest
from shared.http.auth import Scope
from shared.http.error_responses import CALLER_ERRORS, documented

NEVER_SERVED: Final = "this handler only describes a raw call"

IdempotencyKey = Annotated[
    str,
    HeaderParameter(
        name="Idempotency-Key",
        required=False,
        min_length=1,
        max_length=MAX_KEY,
        pattern="^[ -~]+$",
        description="The same key and body of one organization give the same job; another body gives 409",
    ),
]
LastEventId = Annotated[
    str, HeaderParameter(name="Last-Event-ID", required=False, description="The last event the reader has")
]


class BatchRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Jobs that are accepted or rejected one by one."""

    jobs: Annotated[list[BatchJob], Meta(min_length=1, max_length=MAX_JOBS)]


class BatchAnswer(msgspec.Struct):
    """One answer per job, in order."""

    jobs: Annotated[list[Any], items_of(BatchAccepted, BatchRejected)]


class EventsQuery(msgspec.Struct, rename="camel"):
    """The events of a job."""

    job_id: Annotated[JobId, Meta(description="Id of the job")]
    last_event_id: Annotated[str, Meta(description="The same, for clients that cannot set the header")] = ""
    format: Annotated[
        Literal["ai-sdk"] | None, Meta(description="The UI message stream of Vercel's AI SDK instead, from its start")
    ] = None
    ticket: Annotated[str, Meta(description="Of `event-tickets`, instead of a bearer token")] = ""


def _shown(bodies: dict[str, Example]) -> type[Operation]:
    """An operation that shows these request bodies."""

    @dataclass
    class ShownOperation(Operation):
        def __post_init__(self) -> None:
            if isinstance(self.request_body, RequestBody):
                for content in self.request_body.content.values():
                    content.examples = dict(bodies)

    return ShownOperation


@post(
    single.PATH,
    summary="Submit a job",
    status_code=202,
    response_description="Queued, or the job that this key made before",
    response_headers=[LOCATION],
    opt={"scope": Scope.JOBS_WRITE},
    responses=documented(400, 402, *CALLER_ERRORS, 408, 409, 413, 415),
    operation_class=_shown(examples.JOBS),
)
async def submit_job(data: Body[JobRequest], idempotency_key: IdempotencyKey) -> Accepted:
    """See `SubmitCall`."""
    raise NotImplementedError(NEVER_SERVED)


@post(
    batch.PATH,
    summary=f"Submit up to {MAX_JOBS} jobs; each is accepted or rejected by itself",
    status_code=202,
    response_description="One answer per job, in order",
    opt={"scope": Scope.JOBS_WRITE},
    responses=documented(400, *CALLER_ERRORS, 408, 413, 415),
    operation_class=_shown(examples.BATCHES),
)
async def submit_batch(data: Body[BatchRequest]) -> BatchAnswer:
    """See `BatchCall`."""
    raise NotImplementedError(NEVER_SERVED)


@get(
    "/job-events",
    summary="Server-sent events of a job, here as at the notifier",
    media_type="text/event-stream",
    response_description="Events until the job has ended",
    responses={204: ResponseSpec(None, description="The reader has the last event already; it need not come back")}
    | documented(400, *CALLER_ERRORS, 404, 409),
    opt={"scope": Scope.EVENTS_READ},
    operation_class=described_operation(EventsQuery),
)
async def job_events(last_event_id: LastEventId) -> str:
    """See `shared.streams.routes.Streams`."""
    raise NotImplementedError(NEVER_SERVED)


RAW_CALLS: Final[list[HTTPRouteHandler]] = [submit_job, submit_batch, job_events]
