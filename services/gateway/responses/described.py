"""The calls under `/v1` as typed handlers, which Litestar can describe: for the OpenAPI document, never served."""

from __future__ import annotations

from typing import Annotated, Final

from litestar import Router, delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, PathParameter
from litestar.params import RequestBody as Body

from services.gateway.http.json_schemas import described_operation
from services.gateway.http.responses import JOB_ID_PATTERN
from services.gateway.responses.errors import ErrorAnswer
from services.gateway.responses.models import Model, ModelList
from services.gateway.responses.objects import DeletedResponse, ResponseObject
from services.gateway.responses.requests import ResponseRequest
from services.gateway.responses.routes import PATH
from services.gateway.responses.stored import RetrieveQuery
from services.gateway.submit.schemas import MAX_KEY
from shared.http.auth import Scope

NEVER_SERVED: Final = "this handler only describes a raw call"
_EVENTS: Final = "text/event-stream"

ResponseId = Annotated[
    str,
    PathParameter(
        name="responseId",
        description="Id of the response, which is that of its job",
        schema_extra={"pattern": JOB_ID_PATTERN},
    ),
]
ModelName = Annotated[str, PathParameter(name="model", description="`provider:model`")]
IdempotencyKey = Annotated[
    str,
    HeaderParameter(
        name="Idempotency-Key", required=False, min_length=1, max_length=MAX_KEY, pattern="^[ -~]+$",
        description="The same key and body of one organization give the same response; another body gives 409",
    ),
]  # fmt: skip

_REASONS: Final = {
    400: "The request is not valid, or asks for something that is not supported here: `param` names the field",
    401: "A valid API key is needed",
    403: "The key lacks a scope, or may not use the model",
    404: "There is no such response, model or previous response",
    408: "The body did not arrive in time",
    409: "The idempotency key came with another body, or the record cannot be read by this release",
    413: "The body is too large",
    415: "The body is not application/json",
    429: "The organization has reached a limit of its own, or too many bad keys came from this address",
    503: "Come back after `Retry-After` seconds",
    504: "The response is not complete after FOREGROUND_SECONDS; it goes on, and the message names its id",
}
_ALWAYS: Final = (401, 403, 429, 503)


def _refused(*statuses: int) -> dict[int, ResponseSpec]:
    return {
        status: ResponseSpec(ErrorAnswer, generate_examples=False, description=_REASONS[status])
        for status in sorted({*statuses, *_ALWAYS})
    }


@post(
    "/responses",
    summary="Create a response, as OpenAI's SDKs do",
    status_code=200,
    opt={"scope": Scope.JOBS_WRITE, "lines": _EVENTS},
    responses=_refused(400, 404, 408, 409, 413, 415, 504),
)
async def create_response(data: Body[ResponseRequest], idempotency_key: IdempotencyKey) -> ResponseObject:
    """See `CreateCall`."""
    raise NotImplementedError(NEVER_SERVED)


@get(
    "/responses/{responseId:str}",
    summary="A response, or its stream",
    opt={"scope": Scope.JOBS_READ, "lines": _EVENTS},
    responses=_refused(400, 404, 409),
    operation_class=described_operation(RetrieveQuery),
)
async def retrieve_response(response_id: ResponseId) -> ResponseObject:
    """See `StoredCalls`."""
    raise NotImplementedError(NEVER_SERVED)


@post(
    "/responses/{responseId:str}/cancel",
    summary="End a response; one that has ended is answered as it is",
    status_code=200,
    opt={"scope": Scope.JOBS_CANCEL},
    responses=_refused(400, 404, 409),
)
async def cancel_response(response_id: ResponseId) -> ResponseObject:
    """See `StoredCalls`."""
    raise NotImplementedError(NEVER_SERVED)


@delete(
    "/responses/{responseId:str}",
    summary="Delete a response; one that runs is cancelled first",
    status_code=200,
    opt={"scope": Scope.JOBS_CANCEL},
    responses=_refused(400, 404, 409),
)
async def delete_response(response_id: ResponseId) -> DeletedResponse:
    """See `StoredCalls`."""
    raise NotImplementedError(NEVER_SERVED)


@get("/models", summary="The models that a response may name", opt={"scope": Scope.JOBS_WRITE}, responses=_refused(400))
async def get_models() -> ModelList:
    """See `list_models`."""
    raise NotImplementedError(NEVER_SERVED)


@get("/models/{model:str}", summary="One of them", opt={"scope": Scope.JOBS_WRITE}, responses=_refused(400, 404))
async def get_model(model: ModelName) -> Model:
    """See `find_model`."""
    raise NotImplementedError(NEVER_SERVED)


def described() -> Router:
    """All of them."""
    calls = [create_response, retrieve_response, cancel_response, delete_response, get_models, get_model]
    return Router(PATH, route_handlers=calls, tags=["openai"])
