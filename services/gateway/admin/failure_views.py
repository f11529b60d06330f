"""Queries and bodies of the calls that handle failures."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from services.gateway.http.responses import JOB_ID_PATTERN, organization_of
from services.gateway.submit.schemas import Identifier
from shared.events import Time
from shared.http.auth import Identity
from shared.http.problems import invalid
from shared.store.audit_trail import CURSOR_PATTERN
from shared.store.erasure import Receipt
from shared.store.reading.ended_jobs import EndedFilter

NAME_MAX: Final = 200
IDS_MAX: Final = 1000
GROUPS: Final = ("errorType", "provider", "organizationId")

_ONE: Final = "|".join(GROUPS)
FILTER_NAMES: Final = {
    "organization_id": "organizationId", "error_type": "errorType", "project_id": "projectId", "user_id": "userId",
    "from_": "from", "group_by": "groupBy",
}  # fmt: skip

Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX, pattern=r"^[!-~]+\Z")]
GroupBy = Annotated[str, Meta(pattern=rf"^(?:{_ONE})(?:,(?:{_ONE})){{0,{len(GROUPS) - 1}}}\Z")]
At = Annotated[str, Meta(max_length=64, extra_json_schema={"format": "date-time"})]
"""A time. As a `datetime` a query string might give it as a number too."""

EntryCursor = Annotated[str, Meta(pattern=CURSOR_PATTERN.replace("$", r"\Z"))]
JobIdText = Annotated[str, Meta(pattern=JOB_ID_PATTERN.replace("$", r"\Z"))]


class FailureFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=FILTER_NAMES):
    """Failures that agree in each field that is given, by the time of their end."""

    organization_id: Identifier | None = None
    error_type: Name | None = None
    provider: Name | None = None
    project_id: Identifier | None = None
    user_id: Identifier | None = None
    from_: At | None = None
    to: At | None = None

    def of(self, identity: Identity) -> str | None:
        """The organisation that is meant; None: all. A 403 `Problem` for a foreign one."""
        if identity.organization_id is None and self.organization_id is None:
            return None
        return organization_of(identity, self.organization_id)

    @property
    def wanted(self) -> EndedFilter:
        """The filter of the index; a 400 `Problem` for a time that is none."""
        return EndedFilter(
            error_type=self.error_type, provider=self.provider, project_id=self.project_id, user_id=self.user_id,
            from_ms=_ms("from", self.from_), to_ms=_ms("to", self.to),
        )  # fmt: skip


class FailuresQuery(FailureFilter, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=FILTER_NAMES):
    """Failures, grouped. A bound key groups its own organisation's; an operator's those of all when it names none."""

    group_by: Annotated[GroupBy, Meta(description=f"One or more of {', '.join(GROUPS)}, separated by commas")] = (
        "errorType"
    )
    cursor: Annotated[EntryCursor | None, Meta(description="From the answer before")] = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields to group by."""
        return tuple(dict.fromkeys(self.group_by.split(",")))


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Failures of one cause. `provider`: empty where none was called. `job_ids`: the newest ones, as examples.
    `counts`: by bucket, of the hundred largest groups."""

    error_type: str | None = None
    provider: str | None = None
    organization_id: str | None = None
    count: int
    first_at: Time
    last_at: Time
    job_ids: list[str]
    counts: list[int] | None = None


class FailureBuckets(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Failures over time: `counts` of stretches of `seconds` each, from `from` on. Up to 62 of them, from the `from` of
    the query, or the oldest failure that is kept, to its `to`, or now. Their sum is that of the groups."""

    from_: Time
    seconds: int
    counts: list[int]


class FailureGroups(msgspec.Struct, frozen=True):
    """Groups, the largest first. `cursor`: there are older failures, which an answer of their own groups; null: there
    are none. `dropped`: failed jobs that newer ones displaced: they are in no group, and no bucket."""

    groups: list[FailureGroup]
    buckets: FailureBuckets
    cursor: str | None
    dropped: int


class FailuresRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Failures by filter or by their jobs' ids: one of them. `expected`: how many the caller saw."""

    SCHEMA: ClassVar[dict[str, Any]] = {
        "oneOf": [{"required": ["filter"]}, {"required": ["jobIds"]}],
    }

    filter: FailureFilter | msgspec.UnsetType = msgspec.UNSET
    job_ids: Annotated[list[JobIdText], Meta(min_length=1, max_length=IDS_MAX)] | msgspec.UnsetType = msgspec.UNSET
    expected: Annotated[int, Meta(ge=0)]


class AcceptedTask(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A task that workers do. `count`: how many jobs it is about."""

    task_id: str
    count: int


class TaskView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A task as it stands: `done` of `count` jobs. One that is over may have done fewer: jobs that were retried,
    deleted or expired meanwhile are left out. `prompts_gone`: those that are failures still but cannot be redriven, as
    their prompts are not kept any more. `receipt`: of a deletion that is over, what it removed. Backups, and
    copies that a host keeps, are outside."""

    task_id: str
    kind: Literal["redrive", "discard", "erase"]
    state: Literal["running", "done"]
    done: int
    count: int
    prompts_gone: int
    receipt: Receipt | msgspec.UnsetType = msgspec.UNSET


def _ms(field: str, at: str | None) -> int | None:
    """A time in ms since the epoch, not before it."""
    if at is None:
        return None
    try:
        time: datetime.datetime = msgspec.convert(at, Annotated[datetime.datetime, Meta(tz=True)])
    except msgspec.ValidationError:
        raise invalid(field, "expected a time with its zone, such as 2026-11-29T08:00:00Z") from None
    return max(0, round(time.timestamp() * 1000))
