"""The OpenAPI 3.1 document, made from the structs that decode and answer. It names every status a call can answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.gateway.docs import components, examples
from services.gateway.docs.components import JOB_ID, STATUSES, Json, ref
from services.gateway.http.query_strings import PAGE_MAX, WAIT_MAX
from services.gateway.jobs.usage import DAYS_MAX
from services.gateway.submit.schemas import MAX_JOBS, MAX_KEY
from shared.http.problems import MEDIA_TYPE
from shared.job import IDENTIFIER_MAX
from shared.version import VERSION

_IDENTIFIER: Final = {"type": "string", "pattern": f"^[!-~]{{1,{IDENTIFIER_MAX}}}$"}
_DATE: Final = {"type": "string", "format": "date"}

_REASONS: Final = {
    400: "The request is not valid; `errors` names each bad field",
    401: "A valid bearer token is needed",
    403: "The token belongs to another organization",
    404: "No such job, or it belongs to another organization",
    408: "The body did not arrive in time",
    409: "It collides with what is there; `type` says how",
    413: "The body is too large",
    415: "The body is not application/json",
    503: "Come back after `Retry-After` seconds; `jobId` names a job that may have been accepted all the same",
}


def _text(description: str, schema: Json | None = None, media: str = "application/json") -> Json:
    return {"description": description, "content": {media: {"schema": schema or {"type": "string"}}}}


def _problems(*statuses: int) -> Json:
    answers: Json = {}
    for status in statuses:
        answers[str(status)] = _text(_REASONS[status], ref("Problem"), MEDIA_TYPE)
        if status == 401:
            answers["401"]["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
        if status == 503:
            answers["503"]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return answers


def _parameter(name: str, where: str, schema: Json, description: str, *, required: bool = False) -> Json:
    return {"name": name, "in": where, "required": required, "schema": schema, "description": description}


def _call(name: str, summary: str, answers: Json, *problems: int, **more: Any) -> Json:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["jobs"],
        "responses": answers | _problems(*problems),
        **more,
    }


def _body(schema: Json, shown: Json) -> Json:
    return {"required": True, "content": {"application/json": {"schema": schema, "examples": shown}}}


_ACCEPTED: Final = _text("Queued, or the job that this key made before", ref("Accepted")) | {
    "headers": {"Location": {"schema": {"type": "string"}, "description": "Where the job's status is"}}
}
_JOB_PATH: Final = _parameter("jobId", "path", JOB_ID, "Id of the job", required=True)
_KEY: Final = _parameter(
    "Idempotency-Key",
    "header",
    {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[ -~]+$"},
    "The same key and body of one organization give the same job; another body gives 409",
)
_OF_ORGANIZATION: Final = _parameter(
    "organizationId",
    "query",
    _IDENTIFIER | {"examples": [examples.ORGANIZATION]},
    "May be left out when the token belongs to one",
    required=True,
)


def _submitting() -> Json:
    single = _call(
        "submitJob", "Submit a job", {"202": _ACCEPTED}, 400, 401, 403, 408, 409, 413, 415, 503,
        parameters=[_KEY], requestBody=_body(ref("JobRequest"), examples.JOBS),
    )  # fmt: skip
    batch = _call(
        "submitBatch", f"Submit up to {MAX_JOBS} jobs; each is accepted or refused by itself",
        {"202": _text("One answer per job, in order", ref("BatchAnswer"))}, 400, 401, 408, 413, 415, 503,
        requestBody=_body(ref("BatchRequest"), examples.BATCHES),
    )  # fmt: skip
    return {"/api/ai/generate-content": {"post": single}, "/api/ai/generate-content/batch": {"post": batch}}


def _reading() -> Json:
    status = _call(
        "jobStatus", "How a job stands", {"200": _text("The job", ref("JobView"))}, 400, 401, 404, 409, 503,
        parameters=[
            _parameter("jobId", "query", JOB_ID, "Id of the job", required=True),
            _parameter("wait", "query", {"type": "number", "minimum": 0, "maximum": WAIT_MAX},
                       "Seconds to wait for the end of the job"),
        ],
    )  # fmt: skip
    listing = _call(
        "listJobs", "Jobs of an organization, newest first, without their texts",
        {"200": _text("A page", ref("JobList"))}, 400, 401, 403, 404, 503,
        parameters=[
            _OF_ORGANIZATION,
            _parameter("status", "query", {"type": "string", "enum": STATUSES}, "Only jobs of this status"),
            _parameter("cursor", "query", {"type": "string", "maxLength": 256}, "From the page before"),
            _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX}, "Default 50"),
        ],
    )  # fmt: skip
    stats = _call(
        "queueStats", "How many jobs are in each state", {"200": _text("The counts", ref("QueueView"))}, 400, 401, 503
    )
    usage = _call(
        "usage", "What an organization's jobs used and cost, by the day they ended, project and model",
        {"200": _text("The sums", ref("UsageView"))}, 400, 401, 403, 503,
        parameters=[
            _OF_ORGANIZATION,
            _parameter("from", "query", _DATE, "First day, in UTC; left out: the first of this month"),
            _parameter("to", "query", _DATE, f"Last day, of at most {DAYS_MAX}; left out: the last of this month"),
        ],
    )  # fmt: skip
    return {
        "/api/ai/job-status": {"get": status},
        "/api/ai/usage": {"get": usage},
        "/api/ai/jobs": {"get": listing},
        "/api/ai/queue-stats": {"get": stats},
    }


def _changing() -> Json:
    cancel = _call(
        "cancelJob", "End a waiting or running job", {"200": _text("The cancelled job", ref("JobView"))},
        400, 401, 404, 409, 503, parameters=[_JOB_PATH],
    )  # fmt: skip
    retry = _call(
        "retryJob", "Make one new job from a failed or cancelled one", {"202": _ACCEPTED}, 400, 401, 404, 409, 503,
        parameters=[_JOB_PATH],
    )  # fmt: skip
    return {"/api/ai/jobs/{jobId}/cancel": {"post": cancel}, "/api/ai/jobs/{jobId}/retry": {"post": retry}}


def _events(events_url: str) -> Json:
    """Served by the notifier: the document names its origin."""
    answers = {
        "200": _text("Events until the job has ended", media="text/event-stream"),
        "204": {"description": "The reader has the last event already; it need not come back"},
    }
    parameters = [
        _parameter("jobId", "query", JOB_ID, "Id of the job", required=True),
        _parameter("Last-Event-ID", "header", {"type": "string"}, "The last event the reader has"),
        _parameter("lastEventId", "query", {"type": "string"}, "The same, for who cannot set the header"),
    ]
    call = _call(
        "jobEvents",
        "Server-sent events of a job, here as at the notifier",
        answers,
        400,
        401,
        404,
        409,
        parameters=parameters,
    )
    return {"/api/ai/job-events": {"servers": [{"url": events_url or "/"}], "get": call}}


def _operating() -> Json:
    def call(name: str, summary: str, answer: Json, *problems: int) -> Json:
        return {"get": _call(name, summary, {"200": answer}, *problems) | {"tags": ["operation"], "security": []}}

    state = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}
    return {
        "/health/live": call("live", "Whether a restart is of no use", _text("It works", state), 400, 503),
        "/health/ready": call("ready", "Whether Redis answers", _text("It does", state), 400, 503),
        "/metrics": call("metrics", "Figures for Prometheus", _text("All of them", media="text/plain"), 400),
    }


def document(models: Mapping[str, frozenset[str]], events_url: str, *, authenticated: bool) -> bytes:
    """The document as JSON. `models`: the models of each provider; `events_url`: the notifier's origin, or empty."""
    made = components.schemas(models)
    made["Problem"]["properties"] |= {
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": ref("FieldError")},
        "jobId": dict(JOB_ID),
        "jobStatus": {"type": "string"},
    }
    whole: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Presswork",
            "version": VERSION,
            "description": "AI content jobs: submit a prompt, get an id in milliseconds, watch the text arrive.\n\n"
            "Errors are problem documents (RFC 9457). Whatever it asks for, a request that is no HTTP is answered with "
            "400, another method with 405, a head that does not come in time with 408, another host with 421, "
            "one beyond 64 KiB with 431, and what a page of an origin that is not allowed wants to change with 403.",
        },
        "servers": [{"url": "/"}],
        "paths": _submitting() | _reading() | _changing() | _events(events_url) | _operating(),
        "components": {
            "schemas": made,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}] if authenticated else [],
    }
    return msgspec.json.encode(whole)
