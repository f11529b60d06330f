"""The calls for Vercel's AI SDK as typed handlers, which Litestar can describe: for the OpenAPI document, never
served."""

from __future__ import annotations

from typing import Final

from litestar import Router, post
from litestar.params import RequestBody as Body

from services.gateway.ai_sdk.completion import PATH
from services.gateway.submit.schemas import JobRequest
from shared.http.auth import Scope
from shared.http.error_responses import CALLER_ERRORS, documented

NEVER_SERVED: Final = "this handler only describes a raw call"


@post(
    PATH,
    summary="Submit a job and stream its text, as `useCompletion` of Vercel's AI SDK asks",
    status_code=200,
    media_type="text/event-stream",
    response_description="The UI message stream (version 1) of the job",
    opt={"scope": Scope.JOBS_WRITE, "more_scopes": (Scope.EVENTS_READ,)},
    responses=documented(400, *CALLER_ERRORS, 408, 409, 413, 415),
)
async def complete(data: Body[JobRequest]) -> str:
    """See `CompletionCall`."""
    raise NotImplementedError(NEVER_SERVED)


def described(api: str) -> Router:
    """All of them, below `api`."""
    return Router(api, route_handlers=[complete], tags=["jobs"])
