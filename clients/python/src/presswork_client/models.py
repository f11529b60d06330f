"""Answers of the service as typed values. Members that a later release adds are in `raw`; missing ones are None."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

TERMINAL: Final = frozenset({"completed", "failed", "cancelled"})
"""Statuses after which nothing follows."""

UNREADABLE: Final = "unreadable"
"""Status of a row of a listing whose record this release of the service cannot read."""

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of all attempts of a job. `estimated`: some were not reported by the provider."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int | None = None
    estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job failed, in the service's own words. `retryable`: `retry` may help."""

    type: str
    message: str
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """A provider that came earlier in the chain and did not answer."""

    provider: str
    model: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Why a queued job waits. `ahead`: jobs of its own organisation before it."""

    reason: str
    gate: str | None = None
    until: datetime | None = None
    ahead: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job at one moment. `text` is the generated text (`result` in JSON); of a cancelled job the part that came.

    `status` is queued, processing, completed, failed or cancelled; `unreadable` in a listing for a damaged record.
    `cost_usd` is that of all attempts, None: unknown. `attempt` counts from 1, 0: never started. `metadata` is that of
    the result, `request_metadata` the caller's own.
    """

    job_id: str
    status: str
    text: str | None = None
    error: JobError | None = None
    provider: str | None = None
    model: str | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    finish_reason: str | None = None
    passed_over: Sequence[PassedOver] = ()
    metadata: Json | None = None
    project_id: str | None = None
    user_id: str | None = None
    organization_id: str | None = None
    priority: str | None = None
    attempt: int = 0
    max_attempts: int | None = None
    cancel_requested: bool = False
    retry_of: str | None = None
    request_metadata: Json | None = None
    waiting: Waiting | None = None
    created_at: datetime | None = None
    deadline_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    next_attempt_at: datetime | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self.status in TERMINAL

    def json(self) -> Any:
        """The text of a job with a `response_schema`, read as JSON. ValueError for a text that is none."""
        return json.loads(self.text or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSums:
    """Sums of ended jobs that used anything. `cost_usd` lacks `unknown_cost_jobs`; None: it is known of no job."""

    jobs: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float | None = None
    unknown_cost_jobs: int = 0
    estimated_jobs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """Sums of one day (UTC), project and model."""

    date: date
    project_id: str
    provider: str
    model: str
    sums: UsageSums


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """Usage of an organisation, both days included. `totals`: of all days."""

    organization_id: str
    first: date
    last: date
    totals: UsageSums
    rows: Sequence[UsageRow]
