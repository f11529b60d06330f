"""`POST /api/ai/event-tickets`: a ticket with which a browser opens an event stream."""

from __future__ import annotations

import time
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Request
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from services.gateway.http.calls import changing
from services.gateway.http.queries import NoQuery
from services.gateway.http.responses import JobId, Links, in_time, organization_of
from services.gateway.jobs.finder import JobFinder
from services.gateway.submit.schemas import Identifier
from shared.events import Time, iso_time
from shared.http.auth import Identity, Scope
from shared.http.problems import NOT_FOUND, Problem, invalid
from shared.http.urls import prefix_of
from shared.identity.ticket_signer import TicketSigner
from shared.identity.tickets import ORGANIZATION_EVENTS


class TicketRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A job, or an organisation whose events are to be read: one of them."""

    SCHEMA: ClassVar[dict[str, Any]] = {
        "oneOf": [
            {"required": [name], "properties": {name: {"type": "string"}}} for name in ("jobId", "organizationId")
        ]
    }

    job_id: Annotated[JobId, Meta(description="Id of the job")] | None = None
    organization_id: Annotated[Identifier, Meta(description="Instead of a job")] | None = None


class TicketView(msgspec.Struct, frozen=True, kw_only=True):
    """A ticket. `events`: the address of the stream, with the ticket in it."""

    ticket: str
    expires_at: Time = msgspec.field(name="expiresAt")
    events: str


class EventTicketsCall:
    """Makes tickets."""

    def __init__(self, finder: JobFinder, signer: TicketSigner, links: Links, *, organization_events: bool) -> None:
        self._finder = finder
        self._signer = signer
        self._links = links
        self._organization_events = organization_events

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/ai`."""
        summary = "A ticket with which a browser opens an event stream"

        @changing("/event-tickets", summary, 400, 404, 409, scope=Scope.EVENTS_READ, status=201, body=TicketRequest)
        async def event_tickets(
            request: Request[Any, Any, Any],
            identity: NamedDependency[Identity],
            _params: NamedDependency[NoQuery],
            content: NamedDependency[TicketRequest],
        ) -> TicketView:
            return await self.issue(identity, content, prefix_of(request.scope))

        return event_tickets

    async def issue(self, identity: Identity, wanted: TicketRequest, prefix: str) -> TicketView:
        """The ticket; JobNotFound, or a `Problem` for another organisation."""
        if (wanted.job_id is None) == (wanted.organization_id is None):
            raise invalid("jobId", "give either jobId or organizationId")
        if wanted.job_id is not None:
            job = await self._finder.find(identity, wanted.job_id)
            organization, about, until = job.organization_id, job.id, job.deadline_ms / 1000
        else:
            if not self._organization_events:
                raise Problem(NOT_FOUND, "ORGANIZATION_EVENTS is off")
            organization = organization_of(identity, wanted.organization_id)
            about, until = ORGANIZATION_EVENTS, time.time()

        async with in_time():
            ticket, expires_at = await self._signer.issue(identity, organization, about, until)
        events = self._links.events(prefix, wanted.job_id, organization, ticket)
        return TicketView(ticket=ticket, expires_at=iso_time(expires_at * 1000), events=events)
