"""Signs and opens event tickets with the secrets of TICKET_SECRET, or with those in Redis."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from shared.errors import SettingsInvalid, StoreUnavailable
from shared.http.auth import ANONYMOUS, Identity, Scope
from shared.identity import tickets
from shared.identity.refusals import Reason, Refused
from shared.identity.tickets import Ticket
from shared.store.ticket_secrets import TicketSecrets
from shared.telemetry.causes import FailureLog

SECRETS_MAX: Final = 2
SECRET_MIN: Final = 32
"""Characters of a secret."""

FRESH_S: Final = 300.0
FRUGAL_FRESH_S: Final = 3600.0
"""Time for which the secrets are used without asking again: after a rotation the old one signs on for so long."""

UNKNOWN_S: Final = 10.0
"""A ticket of a secret that is not known makes a process ask, at most so often."""


def read_secrets(text: str) -> list[str]:
    """TICKET_SECRET: one secret, or two separated by a blank, the newest first. SettingsInvalid."""
    found = text.split()
    if len(found) > SECRETS_MAX or any(len(secret) < SECRET_MIN for secret in found):
        raise SettingsInvalid(
            f"TICKET_SECRET: expected one secret of at least {SECRET_MIN} characters, or two separated by a blank"
        )
    return found


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
        self._configured = configured
        self._stored = stored
        self._seconds = seconds
        self._makes = makes
        self._fresh_s = FRUGAL_FRESH_S if frugal else FRESH_S
        self._clock = clock
        self._secrets = configured
        self._read_at = -self._fresh_s
        self._failures = FailureLog("ticket_failed")

    async def issue(self, identity: Identity, organization_id: str, about: str, until: float) -> tuple[str, int]:
        """A ticket for this caller, and when it expires (s since the epoch): TICKET_SECONDS after `until`, or with its
        key. StoreUnavailable: there is no secret, and Redis is away."""
        expires = max(until, time.time()) + self._seconds
        if identity.expires_at is not None:
            expires = min(expires, identity.expires_at)
        ticket = Ticket(organization_id, about, identity.name, identity.key_id, int(expires))
        return tickets.sign(ticket, (await self._fresh())[0]), ticket.expires_at

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
        known = await self._fresh()
        if named not in map(tickets.secret_name, known) and self._clock() - self._read_at >= UNKNOWN_S:
            known = await self._read()
        ticket = tickets.verify(text, known)
        if ticket is None:
            raise Refused(Reason.BAD_TICKET)
        if ticket.expires_at <= time.time():
            raise Refused(Reason.EXPIRED, ticket.key_id)
        return ticket

    async def _fresh(self) -> list[str]:
        if self._configured or (self._secrets and self._clock() - self._read_at < self._fresh_s):
            return self._secrets
        try:
            return await self._read()
        except StoreUnavailable:
            if not self._secrets:
                raise
            return self._secrets

    async def _read(self) -> list[str]:
        if self._configured:
            return self._configured
        found = await (self._stored.make() if self._makes else self._stored.read())
        if not found:
            raise StoreUnavailable("no gateway has made a secret for tickets yet")
        self._secrets, self._read_at = found[:SECRETS_MAX], self._clock()
        return self._secrets


_TICKET_OF_QUERY: Final = re.compile(rb"(?:^|&)ticket=([^&]*)")


def ticket_of(query_string: bytes) -> str:
    """The ticket of a query string; empty when there is none. Characters of tickets need no decoding."""
    found = _TICKET_OF_QUERY.search(query_string)
    return found[1].decode("latin-1") if found else ""
