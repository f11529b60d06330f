"""The schemas of the OpenAPI document, made from the structs that decode and answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.gateway.docs import examples
from services.gateway.jobs.usage import UsageView
from services.gateway.jobs.views import JobList, JobView, QueueView, UnreadableView
from services.gateway.submit.schemas import MAX_CHOICES, MAX_JOBS, BatchJob, JobRequest, served_choices
from shared.http.problems import FieldError
from shared.job import JobStatus

Json = dict[str, Any]

JOB_ID: Final = {"type": "string", "pattern": r"^ai-job-[0-9]{13}-[0-9a-z]{9}$"}
STATUSES: Final = [status.value for status in JobStatus]


def ref(name: str) -> Json:
    """Names a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def _as_ecma(schema: Any) -> Any:
    r"""Patterns in the dialect of JSON Schema: Python's `\Z` is its `$`."""
    if isinstance(schema, dict):
        return {
            name: held.replace(r"\Z", "$") if name == "pattern" and isinstance(held, str) else _as_ecma(held)
            for name, held in schema.items()
        }
    return [_as_ecma(held) for held in schema] if isinstance(schema, list) else schema


def schemas(models: Mapping[str, frozenset[str]]) -> Json:
    """All of them by name. `models`: what may be named as a model, by provider."""
    described = [JobRequest, BatchJob, JobView, UnreadableView, JobList, QueueView, UsageView, FieldError]
    _, raw = msgspec.json.schema_components(described, ref_template="#/components/schemas/{name}")
    made: Json = _as_ecma(raw)
    names = sorted({model for provider in models.values() for model in provider})
    for request in ("JobRequest", "BatchJob"):
        made[request]["properties"]["provider"] = {"type": ["string", "null"], "enum": [*sorted(models), None]}
        made[request]["properties"]["model"] = {"type": ["string", "null"], "enum": [*names, None]}
        chain = {"items": {"type": "string", "enum": served_choices(models)}, "minItems": 1, "maxItems": MAX_CHOICES}
        made[request]["properties"]["providers"] = {"type": ["array", "null"], "uniqueItems": True} | chain
    made["JobView"]["examples"] = [examples.JOB]
    text, job_id = {"type": "string"}, dict(JOB_ID)
    status = {"type": "string", "enum": STATUSES}
    links = dict.fromkeys(("status", "events", "cancel"), text)
    return made | {
        "Accepted": _object({"jobId": job_id, "status": status, "links": _object(links)})
        | {"examples": [examples.ACCEPTED]},
        "BatchRequest": _object(
            {"jobs": {"type": "array", "items": ref("BatchJob"), "minItems": 1, "maxItems": MAX_JOBS}}
        ) | {"additionalProperties": False},
        "BatchAnswer": _object(
            {"jobs": {"type": "array", "items": {"oneOf": [ref("BatchAccepted"), ref("BatchRefused")]}}}
        ),
        "BatchAccepted": _object({"jobId": job_id, "status": status}),
        "BatchRefused": _object({"error": ref("Problem")}),
        "Problem": _object({"type": text, "title": text, "status": {"type": "integer"}})
        | {"description": "RFC 9457; `type` is stable."},
    }  # fmt: skip


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}
