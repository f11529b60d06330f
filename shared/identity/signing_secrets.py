"""Secrets that sign tickets and sessions: those of TICKET_SECRET, or those in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from shared.errors import SettingsInvalid, StoreUnavailable
from shared.identity.signed_texts import secret_name
from shared.store.ticket_secrets import TicketSecrets

SECRETS_MAX: Final = 2
SECRET_MIN: Final = 32
"""Characters of a secret."""

FRESH_S: Final = 300.0
FRUGAL_FRESH_S: Final = 3600.0
"""Time for which the secrets are used without asking again: after a rotation the old one signs on for so long."""

UNKNOWN_S: Final = 10.0
"""A text of a secret that is not known makes a process ask, at most so often."""


def read_secrets(text: str) -> list[str]:
    """TICKET_SECRET: one secret, or two separated by a blank, the newest first. SettingsInvalid."""
    found = text.split()
    if len(found) > SECRETS_MAX or any(len(secret) < SECRET_MIN for secret in found):
        raise SettingsInvalid(
            f"TICKET_SECRET: expected one secret of at least {SECRET_MIN} characters, or two separated by a blank"
        )
    return found


class SigningSecrets:
    """Of one process. `makes`: it makes the first secret in Redis, where none is set."""

    def __init__(
        self,
        configured: list[str],
        stored: TicketSecrets,
        *,
        makes: bool,
        frugal: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configured = configured
        self._stored = stored
        self._makes = makes
        self._fresh_s = FRUGAL_FRESH_S if frugal else FRESH_S
        self._clock = clock
        self._secrets = configured
        self._read_at = -self._fresh_s

    async def newest(self) -> str:
        """The one that signs. StoreUnavailable: there is none, and Redis is away."""
        return (await self._fresh())[0]

    async def valid(self, named: str) -> list[str]:
        """Those that may have signed a text that names one of them. StoreUnavailable: no secret is known yet."""
        known = await self._fresh()
        if named not in map(secret_name, known) and self._clock() - self._read_at >= UNKNOWN_S:
            known = await self._read()
        return known

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
