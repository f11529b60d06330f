"""Turns a request for a response into the job that goes into the queue."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec
from litestar.types import HTTPScope

from services.gateway.http.bodies import read_head
from services.gateway.http.responses import organization_of
from services.gateway.jobs.finder import JobFinder
from services.gateway.responses.errors import MODEL_NOT_FOUND, PREVIOUS_NOT_FOUND
from services.gateway.responses.requests import ResponseRequest, faults
from services.gateway.settings import GatewaySettings
from services.gateway.submit.new_jobs import JobMaker, read_key, read_traceparent
from services.gateway.submit.response_schemas import FIELD as SCHEMA_FIELD
from services.gateway.submit.schemas import JobRequest, MessageRequest, served_choices
from shared.chain import split
from shared.conversation import Message, Role, cut
from shared.errors import JobNotFound
from shared.http.auth import Identity, Scope
from shared.http.problems import INVALID, FieldError, Problem, invalid
from shared.job import JobStatus
from shared.job_ids import IDENTIFIER, JOB_ID
from shared.store.transitions import Submit

USER: Final = "api"
PROJECT: Final = "default"
ORGANIZATION: Final = "default"
"""Ids of jobs whose request names none."""

PROJECT_HEADER: Final = "OpenAI-Project"
ORGANIZATION_HEADER: Final = "OpenAI-Organization"

_encode: Final = msgspec.json.Encoder().encode


def header(scope: HTTPScope, name: str) -> str | None:
    """A header's value; None: it is not there, or empty."""
    wanted = name.lower().encode()
    found = next((value for given, value in scope["headers"] if given == wanted), b"")
    return found.decode("latin-1").strip() or None


def caller_of(scope: HTTPScope, identity: Identity) -> Identity:
    """The caller as one of the organisation that the request's header names, if it does: an operator then sees of no
    other. A 400 or 403 `Problem` for a name that cannot be one, or is another's."""
    named = header(scope, ORGANIZATION_HEADER)
    if named is None:
        return identity
    organization = organization_of(identity, _checked(named, ORGANIZATION_HEADER), ORGANIZATION_HEADER)
    return msgspec.structs.replace(identity, organization_id=organization)


class ResponseMaker:
    """Makes the jobs of responses."""

    def __init__(self, maker: JobMaker, finder: JobFinder, settings: GatewaySettings) -> None:
        self._maker = maker
        self._finder = finder
        self._chain = settings.chain
        self._models = settings.models

    async def make(self, request: ResponseRequest, body: bytes, scope: HTTPScope, identity: Identity) -> Submit:
        """The job, with a fresh id; a `Problem` when the request may not have it."""
        if found := list(faults(request)):
            raise Problem(INVALID, errors=found)
        head = read_head(scope)
        key = read_key(head.idempotency_key)
        organization = _organization(request, identity)
        history = await self._history(request.previous_response_id, organization, identity)

        wanted = self._job_request(request, history, scope, organization)
        traceparent = read_traceparent(head.traceparent)
        try:
            job = self._maker.make(wanted, body, identity, key=key, traceparent=traceparent)
        except Problem as problem:
            raise _renamed(problem) from None
        spec = msgspec.structs.replace(job.spec, metadata=request.metadata or None, response=request.options)
        fingerprint = hashlib.blake2b(_encode(request), digest_size=16).hexdigest() if key is not None else ""
        return msgspec.structs.replace(job, spec=spec, fingerprint=fingerprint)

    def _job_request(
        self, request: ResponseRequest, history: list[Message], scope: HTTPScope, organization: str
    ) -> JobRequest:
        provider, model = self._model(request.model)
        plain = request.input if isinstance(request.input, str) and not history else None
        messages = [MessageRequest(message.role, message.content) for message in [*history, *request.messages]]
        return JobRequest(
            project_id=_project(request, scope),
            user_id=request.safety_identifier or request.user or USER,
            organization_id=organization,
            prompt=plain,
            messages=messages if plain is None else None,
            instructions=request.instructions,
            priority=request.priority,
            provider=provider,
            model=model,
            max_tokens=request.max_output_tokens,
            temperature=request.temperature,
            effort=request.effort,
            response_schema=request.response_schema,
        )

    def _model(self, name: str | None) -> tuple[str | None, str | None]:
        """Provider and model of a name. A 404 `Problem` for one that is not served here."""
        if name is None:
            return None, None
        if name in self._chain:
            return split(name)
        if any(name in models for models in self._models.values()):
            return None, name
        served = ", ".join(served_choices(self._models))
        message = f"{name[:100]} is not served here; these are: {served}"
        raise Problem(MODEL_NOT_FOUND, errors=[FieldError("model", message)])

    async def _history(self, response_id: str | None, organization: str, identity: Identity) -> list[Message]:
        """The conversation that a response ended. A `Problem` when the organisation keeps none of that id, or it has no
        end to go on from."""
        if response_id is None:
            return []
        if JOB_ID.match(response_id) is None:
            raise _not_kept(response_id)
        identity.require_scope(Scope.JOBS_READ)
        try:
            job = await self._finder.find(identity, response_id)
        except JobNotFound:
            raise _not_kept(response_id) from None
        if job.organization_id != organization or not job.spec.stored or not job.spec.prompt:
            raise _not_kept(response_id)
        if job.status is not JobStatus.COMPLETED or job.outcome is None:
            raise invalid("previous_response_id", f"it is {job.status}: only a completed response can be continued")

        said = job.outcome.result or ""
        messages = cut(job.spec.prompt, job.spec.turns or ())
        return [*messages, Message(Role.ASSISTANT, said)] if said else messages


def _renamed(problem: Problem) -> Problem:
    """The problem of a job, with its fields as the request has them."""
    errors = [FieldError(_renamed_field(error.field), error.message) for error in problem.details.errors]
    return Problem(problem.kind, errors=errors, headers=problem.headers)


def _renamed_field(field: str) -> str:
    if field == SCHEMA_FIELD:
        return "text.format.schema"
    return "input" if field.startswith(("prompt", "messages")) else field


def _not_kept(response_id: str) -> Problem:
    return Problem(PREVIOUS_NOT_FOUND, errors=[FieldError("previous_response_id", f"{response_id} is not kept here")])


def _project(request: ResponseRequest, scope: HTTPScope) -> str:
    """The project: the header's, else that of the metadata."""
    if named := header(scope, PROJECT_HEADER):
        return _checked(named, PROJECT_HEADER)
    return _checked((request.metadata or {}).get("projectId", PROJECT), "metadata.projectId")


def _organization(request: ResponseRequest, identity: Identity) -> str:
    """The organisation: the caller's, else that of the metadata."""
    if identity.organization_id is not None:
        return identity.organization_id
    return _checked((request.metadata or {}).get("organizationId", ORGANIZATION), "metadata.organizationId")


def _checked(text: str, field: str) -> str:
    if IDENTIFIER.match(text) is None:
        raise invalid(field, "must be 1 to 128 printable ASCII characters without blanks")
    return text
