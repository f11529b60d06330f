"""Turns a checked request into the job that goes into the queue."""

from __future__ import annotations

import hashlib
import re
from typing import Final

import msgspec

from services.gateway.http.responses import organization_of
from services.gateway.settings import GatewaySettings
from services.gateway.submit.schemas import MAX_KEY, BatchJob, JobRequest, faults
from shared.chain import permitted, route_of
from shared.http.auth import Identity
from shared.http.problems import INVALID, FieldError, Problem, invalid
from shared.job import JobSnapshot, JobSpec
from shared.job_ids import new_job_id
from shared.settings import MAX_DEADLINE_SECONDS
from shared.store.retries import retry_of
from shared.store.transitions import Submit
from shared.tracing.traceparents import valid

_KEY: Final = re.compile(rf"[\x20-\x7e]{{1,{MAX_KEY}}}\Z")
_encode: Final = msgspec.json.Encoder().encode


def read_key(header: bytes | None) -> str | None:
    """The Idempotency-Key header: 1 to 255 printable ASCII characters, else a 400 `Problem`."""
    if header is None:
        return None
    key = header.decode("latin-1").strip()
    if _KEY.match(key) is None:
        raise invalid("Idempotency-Key", f"must be 1 to {MAX_KEY} printable ASCII characters")
    return key


def read_traceparent(header: bytes | None) -> str | None:
    """A W3C trace context that can be continued; a malformed one counts as none, as its standard requires."""
    return None if header is None else valid(header.decode("latin-1"))


def _fingerprint(request: JobRequest, organization: str) -> str:
    """Fingerprint of a body: equal for two that mean the same and are written differently."""
    request = msgspec.structs.replace(request, organization_id=organization)
    if isinstance(request, BatchJob):
        request = msgspec.structs.replace(request, idempotency_key=None)
    return hashlib.blake2b(_encode(request), digest_size=16).hexdigest()


class JobMaker:
    """Makes jobs, with the settings' values where a request has none."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._models = settings.models
        self._chain = settings.chain

    def make(
        self,
        request: JobRequest,
        body: bytes,
        identity: Identity,
        *,
        key: str | None,
        traceparent: str | None,
        prefix: str = "",
    ) -> Submit:
        """The job, with a fresh id; a `Problem` when the request may not have it.

        `body` is the JSON that `request` came from, `prefix` the path under which a problem names its fields.
        """
        organization = organization_of(identity, request.organization_id, f"{prefix}organizationId")
        if found := faults(request, body, self._models):
            raise Problem(INVALID, errors=[FieldError(prefix + fault.field, fault.message) for fault in found])

        settings, delay = self._settings, request.delay_seconds
        deadline = request.deadline_seconds or min(settings.deadline_seconds + delay, MAX_DEADLINE_SECONDS)
        spec = self._permitted(self._spec(request, organization, traceparent), identity, prefix)
        return Submit(
            id=new_job_id(),
            spec=spec,
            route=route_of(spec, self._chain),
            delay_ms=round(delay * 1000),
            deadline_ms=round(deadline * 1000),
            own_deadline=bool(request.deadline_seconds),
            idempotency_key=key,
            fingerprint="" if key is None else _fingerprint(request, organization),
        )

    def _permitted(self, spec: JobSpec, identity: Identity, prefix: str = "") -> JobSpec:
        """The job with those of its models alone that its caller may use; a 403 `Problem` when there is none."""
        found = permitted(spec, self._chain, identity.models)
        for i, name in enumerate(spec.providers or ()):
            identity.require_model(name, f"{prefix}providers[{i}]")
        if found is None:
            identity.require_model((route_of(spec, self._chain) or self._chain)[0], f"{prefix}model")
        return found or spec

    def _spec(self, request: JobRequest, organization: str, traceparent: str | None) -> JobSpec:
        prompt, turns = request.asked
        return JobSpec(
            project_id=request.project_id,
            user_id=request.user_id,
            organization_id=organization,
            prompt=prompt,
            turns=turns,
            instructions=request.instructions,
            parameters=request.parameters,
            priority=request.priority,
            provider=request.provider,
            model=request.model,
            providers=request.providers,
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            effort=request.effort,
            timeout_seconds=request.timeout_seconds or self._settings.job_timeout_seconds,
            max_attempts=request.max_attempts or self._settings.max_attempts,
            max_cost_usd=request.max_cost_usd,
            metadata=request.metadata,
            response_schema=request.response_schema,
            traceparent=traceparent,
        )

    def retry_of(self, ended: JobSnapshot, identity: Identity, traceparent: str | None) -> Submit:
        """A new job that asks for the same as one that ended, with a deadline of its own; a 403 `Problem` when the
        caller may use none of its models."""
        spec = self._permitted(ended.spec, identity)
        deadline_ms = round(self._settings.deadline_seconds * 1000)
        return retry_of(ended, spec, chain=self._chain, deadline_ms=deadline_ms, traceparent=traceparent)
