"""Bodies of submits: from keywords in Python's spelling to the JSON of the API, in batches that the API takes."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, Required, TypedDict

from presswork_client.settings import Settings

ParameterValue = str | int | float | bool | Sequence[str | int | float | bool]

BATCH_MAX: Final = 500
BATCH_BYTES: Final = 4 * 1024 * 1024
"""Most jobs and bytes of one batch; the service takes twice as many bytes."""

_IN_PARAMETERS: Final = ("platform", "tone", "length")
_WHO: Final = {"project": "projectId", "user": "userId", "organization": "organizationId"}
_LETTER: Final = re.compile(r"_([a-z])")


class JobOptions(TypedDict, total=False):
    """Options of a job. `platform`, `tone` and `length` are parameters; others go into `parameters`.

    `providers`: `provider:model` names in order of preference, instead of `provider` and `model`. `project`, `user` and
    `organization`: instead of the client's own. `max_cost_usd`: of all attempts together. `response_schema`: a JSON
    Schema that the text fits (`job.json()`).
    """

    platform: str
    tone: str
    length: str
    parameters: Mapping[str, ParameterValue]
    priority: Literal["high", "normal", "low"]
    provider: str
    model: str
    providers: Sequence[str]
    max_tokens: int
    max_cost_usd: float
    temperature: float
    effort: Literal["low", "medium", "high"]
    delay_seconds: float
    max_attempts: int
    timeout_seconds: float
    deadline_seconds: float
    metadata: Mapping[str, Any]
    response_schema: Mapping[str, Any]
    project: str
    user: str
    organization: str


class JobRequest(JobOptions, total=False):
    """One job of many. `idempotency_key`: see `submit`."""

    prompt: Required[str]
    idempotency_key: str


_OPTIONS: Final = frozenset(JobRequest.__annotations__ | JobOptions.__annotations__)


def new_key() -> str:
    """A key under which a submit can be repeated and is one job."""
    return str(uuid.uuid4())


def body_of(settings: Settings, prompt: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a submit. TypeError for an option that does not exist."""
    if unknown := sorted(options.keys() - _OPTIONS):
        raise TypeError(f"{unknown[0]!r} is no option of a job; other parameters go into `parameters`")

    parameters = dict(options.get("parameters") or {})
    body = _who(settings)
    for name, value in options.items():
        if value is None or name == "parameters":
            continue
        if name in _IN_PARAMETERS:
            parameters[name] = value
        else:
            body[_WHO.get(name) or camel(name)] = value
    return body | {"prompt": prompt} | ({"parameters": parameters} if parameters else {})


def camel(name: str) -> str:
    """The name of a member in JSON: `max_tokens` to `maxTokens`."""
    return _LETTER.sub(lambda found: found[1].upper(), name)


def batch_item(settings: Settings, job: str | JobRequest) -> dict[str, Any]:
    """A job of a batch, always with an idempotency key. `job`: a prompt, or a job with options."""
    if isinstance(job, str):
        return body_of(settings, job, {"idempotency_key": new_key()})
    options: dict[str, Any] = {"idempotency_key": new_key(), **job}
    return body_of(settings, options.pop("prompt"), options)


def with_defaults(settings: Settings, body: Mapping[str, Any]) -> dict[str, Any]:
    """A body as the API has it, with the caller's names where it has none."""
    return _who(settings) | dict(body)


def batches(items: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The items in lists that one call takes."""
    batch: list[dict[str, Any]] = []
    size = 0
    for item in items:
        length = len(json.dumps(item, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        if batch and (len(batch) == BATCH_MAX or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield batch


def _who(settings: Settings) -> dict[str, Any]:
    named = {"projectId": settings.project, "userId": settings.user, "organizationId": settings.organization}
    return {name: value for name, value in named.items() if value}
