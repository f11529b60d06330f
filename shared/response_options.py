"""The part of a request to `/v1/responses` that no other job has: kept so that its response can be shown again."""

from __future__ import annotations

import msgspec


class SchemaLabels(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Fields of a `text.format` beside its schema. `strict` changes nothing: every result is checked."""

    name: str
    description: str | None = None
    strict: bool | None = None


class ResponseOptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Fields of a response as they were asked for.

    `store`: the request stays in the job's record; False: the job is deleted after its first complete answer.
    `restart`: a stream goes on with a new item after an attempt that was superseded. `service_tier`: as it was named.
    `labels`: of a job with a schema.
    """

    background: bool = False
    store: bool = True
    restart: bool = False
    previous_response_id: str | None = None
    service_tier: str = "default"
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    labels: SchemaLabels | None = None
