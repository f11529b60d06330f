"""Signs and opens event tickets."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from shared.errors import StoreUnavailable
from shared.http.auth import ANONYMOUS, Identity, Scope
from shared.identity import tickets
from shared.identity.refusals import Reason, Refused
from shared.identity.signing_secrets import SigningSecrets
from shared.identity.tickets import Ticket
from shared.store.ticket_secrets import TicketSecrets
from shared.telemetry.causes import FailureLog


class TicketSigner:
    """Of one process. `makes`: it makes the first secret in Redis, where none is set."""

    def __init__(
        self,
        configured: list[str],
        stored: TicketSecrets,
        *,
        seconds: float,
        makes: bool,
        frugal: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.secrets = SigningSecrets(configured, stored, makes=makes, frugal=frugal, clock=clock)
        self._seconds = seconds
        self._failures = FailureLog("ticket_failed")

    async def issue(self, identity: Identity, organization_id: str, about: str, until: float) -> tuple[str, int]:
        """A ticket for this caller, and when it expires (s since the epoch): TICKET_SECONDS after `until`, or with its
        key. StoreUnavailable: there is no secret, and Redis is away."""
        expires = max(until, time.time()) + self._seconds
        if identity.expires_at is not None:
            expires = min(expires, identity.expires_at)
        ticket = Ticket(organization_id, about, identity.name, identity.key_id, int(expires))
        return tickets.sign(ticket, await self.secrets.newest()), ticket.expires_at

    async def issue_for_job(self, identity: Identity, organization_id: str, job_id: str, until: float) -> str | None:
        """A ticket for the links of a submit; None for a caller that needs none or may read no events, and while no
        ticket can be made. Raises nothing: the job is accepted by now, and its caller must learn the id."""
        if identity.name == ANONYMOUS.name or Scope.EVENTS_READ not in identity.scopes:
            return None
        try:
            return (await self.issue(identity, organization_id, job_id, until))[0]
        except StoreUnavailable:
            return None
        except Exception as unforeseen:
            self._failures.failed(unforeseen)
            return None

    async def open(self, text: str) -> Ticket:
        """The ticket, as it was signed. Refused; StoreUnavailable: no secret is known yet."""
        named = tickets.named_secret(text)
        if named is None:
            raise Refused(Reason.MALFORMED)
        ticket = tickets.verify(text, await self.secrets.valid(named))
        if ticket is None:
            raise Refused(Reason.BAD_TICKET)
        if ticket.expires_at <= time.time():
            raise Refused(Reason.EXPIRED, ticket.key_id)
        return ticket


_TICKET_OF_QUERY: Final = re.compile(rb"(?:^|&)ticket=([^&]*)")


def ticket_of(query_string: bytes) -> str:
    """The ticket of a query string; empty when there is none. Characters of tickets need no decoding."""
    found = _TICKET_OF_QUERY.search(query_string)
    return found[1].decode("latin-1") if found else ""
