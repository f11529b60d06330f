"""The OpenAPI 3.1 document, made from the structs that decode and answer. It names every status a call can answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.gateway.queries import PAGE_MAX, WAIT_MAX
from services.gateway.schemas import MAX_CHOICES, MAX_JOBS, MAX_KEY, BatchJob, JobRequest, served_choices
from services.gateway.usage import DAYS_MAX, UsageView
from services.gateway.views import JobList, JobView, QueueView
from shared.http.problems import MEDIA_TYPE, FieldError
from shared.job import JobStatus
from shared.telemetry.metrics import installed_version

Json = dict[str, Any]

_IDENTIFIER: Final = {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"}
_JOB_ID: Final = {"type": "string", "pattern": r"^ai-job-\d{13}-[0-9a-z]{9}$"}
_DATE: Final = {"type": "string", "format": "date"}
_STATUSES: Final = [status.value for status in JobStatus]

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


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _text(description: str, schema: Json | None = None, media: str = "application/json") -> Json:
    return {"description": description, "content": {media: {"schema": schema or {"type": "string"}}}}


def _problems(*statuses: int) -> Json:
    answers: Json = {}
    for status in statuses:
        answers[str(status)] = _text(_REASONS[status], _ref("Problem"), MEDIA_TYPE)
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


def _body(schema: Json) -> Json:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


_ACCEPTED: Final = _text("Queued, or the job that this key made before", _ref("Accepted")) | {
    "headers": {"Location": {"schema": {"type": "string"}, "description": "Where the job's status is"}}
}
_JOB_PATH: Final = _parameter("jobId", "path", _JOB_ID, "Id of the job", required=True)
_KEY: Final = _parameter(
    "Idempotency-Key",
    "header",
    {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]+$"},
    "The same key and body of one organization give the same job; another body gives 409",
)
_OF_ORGANIZATION: Final = _parameter(
    "organizationId", "query", _IDENTIFIER, "May be left out when the token belongs to one", required=True
)


def _submitting() -> Json:
    single = _call(
        "submitJob", "Submit a job", {"202": _ACCEPTED}, 400, 401, 403, 408, 409, 413, 415, 503,
        parameters=[_KEY], requestBody=_body(_ref("JobRequest")),
    )  # fmt: skip
    batch = _call(
        "submitBatch", f"Submit up to {MAX_JOBS} jobs; each is accepted or refused by itself",
        {"202": _text("One answer per job, in order", _ref("BatchAnswer"))}, 400, 401, 408, 413, 415, 503,
        requestBody=_body(_ref("BatchRequest")),
    )  # fmt: skip
    return {"/api/ai/generate-content": {"post": single}, "/api/ai/generate-content/batch": {"post": batch}}


def _reading() -> Json:
    status = _call(
        "jobStatus", "How a job stands", {"200": _text("The job", _ref("JobView"))}, 400, 401, 404, 503,
        parameters=[
            _parameter("jobId", "query", _JOB_ID, "Id of the job", required=True),
            _parameter("wait", "query", {"type": "number", "minimum": 0, "maximum": WAIT_MAX},
                       "Seconds to wait for the end of the job"),
        ],
    )  # fmt: skip
    listing = _call(
        "listJobs", "Jobs of an organization, newest first, without their texts",
        {"200": _text("A page", _ref("JobList"))}, 400, 401, 403, 404, 503,
        parameters=[
            _OF_ORGANIZATION,
            _parameter("status", "query", {"type": "string", "enum": _STATUSES}, "Only jobs of this status"),
            _parameter("cursor", "query", {"type": "string", "maxLength": 256}, "From the page before"),
            _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX}, "Default 50"),
        ],
    )  # fmt: skip
    stats = _call(
        "queueStats", "How many jobs are in each state", {"200": _text("The counts", _ref("QueueView"))}, 400, 401, 503
    )
    usage = _call(
        "usage", "What an organization's jobs used and cost, by the day they ended, project and model",
        {"200": _text("The sums", _ref("UsageView"))}, 400, 401, 403, 503,
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
        "cancelJob", "End a waiting or running job", {"200": _text("The cancelled job", _ref("JobView"))},
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
        _parameter("jobId", "query", _JOB_ID, "Id of the job", required=True),
        _parameter("Last-Event-ID", "header", {"type": "string"}, "The last event the reader has"),
        _parameter("lastEventId", "query", {"type": "string"}, "The same, for who cannot set the header"),
    ]
    call = _call("jobEvents", "Server-sent events of a job (notifier)", answers, 400, 401, 404, parameters=parameters)
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


def _as_ecma(schema: Any) -> Any:
    r"""Patterns in the dialect of JSON Schema: Python's `\Z` is its `$`."""
    if isinstance(schema, dict):
        return {
            name: held.replace(r"\Z", "$") if name == "pattern" and isinstance(held, str) else _as_ecma(held)
            for name, held in schema.items()
        }
    return [_as_ecma(held) for held in schema] if isinstance(schema, list) else schema


def _schemas(models: Mapping[str, frozenset[str]]) -> Json:
    described = [JobRequest, BatchJob, JobView, JobList, QueueView, UsageView, FieldError]
    _, raw = msgspec.json.schema_components(described, ref_template="#/components/schemas/{name}")
    made: Json = _as_ecma(raw)
    names = sorted({model for provider in models.values() for model in provider})
    for request in ("JobRequest", "BatchJob"):
        made[request]["properties"]["provider"] = {"type": ["string", "null"], "enum": [*sorted(models), None]}
        made[request]["properties"]["model"] = {"type": ["string", "null"], "enum": [*names, None]}
        chain = {"items": {"type": "string", "enum": served_choices(models)}, "minItems": 1, "maxItems": MAX_CHOICES}
        made[request]["properties"]["providers"] = {"type": ["array", "null"], "uniqueItems": True} | chain
    text, job_id = {"type": "string"}, dict(_JOB_ID)
    status = {"type": "string", "enum": _STATUSES}
    links = dict.fromkeys(("status", "events", "cancel"), text)
    return made | {
        "Accepted": _object({"jobId": job_id, "status": status, "links": _object(links)}),
        "BatchRequest": _object(
            {"jobs": {"type": "array", "items": _ref("BatchJob"), "minItems": 1, "maxItems": MAX_JOBS}}
        ) | {"additionalProperties": False},
        "BatchAnswer": _object(
            {"jobs": {"type": "array", "items": {"oneOf": [_ref("BatchAccepted"), _ref("BatchRefused")]}}}
        ),
        "BatchAccepted": _object({"jobId": job_id, "status": status}),
        "BatchRefused": _object({"error": _ref("Problem")}),
        "Problem": _object({"type": text, "title": text, "status": {"type": "integer"}})
        | {"description": "RFC 9457; `type` is stable."},
    }  # fmt: skip


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def document(models: Mapping[str, frozenset[str]], events_url: str, *, authenticated: bool) -> bytes:
    """The document as JSON. `models`: the models of each provider; `events_url`: the notifier's origin, or empty."""
    schemas = _schemas(models)
    schemas["Problem"]["properties"] |= {
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": _ref("FieldError")},
        "jobId": dict(_JOB_ID),
        "jobStatus": {"type": "string", "enum": _STATUSES},
    }
    whole: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Presswork",
            "version": installed_version(),
            "description": "AI content jobs: submit a prompt, get an id in milliseconds, watch the text arrive.\n\n"
            "Errors are problem documents (RFC 9457). Whatever it asks for, a request that is no HTTP is answered with "
            "400, another method with 405, a head that does not come in time with 408, one beyond 64 KiB with 431.",
        },
        "servers": [{"url": "/"}],
        "paths": _submitting() | _reading() | _changing() | _events(events_url) | _operating(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}] if authenticated else [],
    }
    return msgspec.json.encode(whole)
