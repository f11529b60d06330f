"""Parts of the responses of `/api/ai`: their time limit, the links of a job, and the organisation of the caller."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final
from urllib.parse import quote

import msgspec
from msgspec import Meta

from shared.errors import SettingsInvalid, StoreUnavailable
from shared.http.auth import Identity
from shared.http.problems import invalid
from shared.job import JobStatus
from shared.store.results import Submitted

STORE_SECONDS: Final = 1.9
"""Most time of the store in s, for all its calls of Redis together: a client learns of an absent Redis within 2 s."""

JOB_ID_PATTERN: Final = r"^ai-job-[0-9]{13}-[0-9a-z]{9}$"
JobId = Annotated[str, Meta(extra_json_schema={"pattern": JOB_ID_PATTERN})]
"""A job id as the document describes it; one that comes in is read by `read_job_id`, which distinguishes faults."""

_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9._:\[\]~/-]+\Z")


class JobLinks(msgspec.Struct, frozen=True):
    """Links of a job: relative, but for the events when the notifier has an origin of its own."""

    status: str
    events: str
    cancel: str


class Accepted(msgspec.Struct, frozen=True, rename="camel"):
    """A job that is in the queue."""

    job_id: JobId
    status: JobStatus
    links: JobLinks


class Links:
    """Builds the links of jobs."""

    def __init__(self, public_events_url: str) -> None:
        """SettingsInvalid when the notifier's origin is not an http(s) URL."""
        if public_events_url and _ORIGIN.match(public_events_url) is None:
            raise SettingsInvalid("PUBLIC_EVENTS_URL is not an http(s) URL: give one like https://events.example.com")
        self._events = public_events_url.rstrip("/")

    def events(self, prefix: str, job_id: str | None, organization_id: str = "", ticket: str | None = None) -> str:
        """Address of the events of a job, or of an organisation; with a ticket for browsers."""
        about = f"jobId={job_id}" if job_id else f"organizationId={quote(organization_id, safe='')}"
        return f"{self._events or prefix}/api/ai/job-events?{about}" + (f"&ticket={ticket}" if ticket else "")

    def accepted(self, submitted: Submitted, prefix: str, ticket: str | None = None) -> Accepted:
        """The body of a 202. `prefix`: the path before every path (`prefix_of`); `ticket`: for the link to events."""
        job = submitted.job_id
        links = JobLinks(
            status=f"{prefix}/api/ai/job-status?jobId={job}",
            events=self.events(prefix, job, ticket=ticket),
            cancel=f"{prefix}/api/ai/jobs/{job}/cancel",
        )
        return Accepted(job, submitted.status, links)


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    """Bound the store's time: StoreUnavailable for an answer that comes too late."""
    try:
        async with asyncio.timeout(STORE_SECONDS):
            yield
    except TimeoutError:
        raise StoreUnavailable("Redis did not answer in time", sent=True) from None


def organization_of(identity: Identity, named: str | None, field: str = "organizationId") -> str:
    """The organisation that a call is about: the one it names, else the token's. A 400 or 403 `Problem`, which names
    `field`, otherwise."""
    organization = named or identity.organization_id
    if organization is None:
        raise invalid(field, "required")
    identity.require(organization, field)
    return organization
