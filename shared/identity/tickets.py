"""Event tickets: what a browser shows in place of a header, for EventSource sends none.

`v1.<secret>.<content>.<signature>`: the beginning of the secret's hash, the ticket as base64url JSON, HMAC-SHA-256.
It is bound to one job, or to an organisation's events, reads events and nothing else, and stands and falls with the
key that it was made for. It is not single-use: EventSource comes back with the same address. Pure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

import msgspec

ORGANIZATION_EVENTS: Final = "*"
"""Of a ticket for an organisation's events: no job is called so."""

PATTERN: Final = r"v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]{1,1400}\.[A-Za-z0-9_-]{43}"
_TICKET: Final = re.compile(PATTERN)


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """`about`: the job's id, or `ORGANIZATION_EVENTS`. `name`, `key_id`: of the identity that it was made for.
    `expires_at`: s since the epoch."""

    organization_id: str
    about: str
    name: str
    key_id: str
    expires_at: int


_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(Ticket)


def secret_name(secret: str) -> str:
    """By what a ticket names the secret that signed it."""
    return hashlib.sha256(b"name " + secret.encode()).hexdigest()[:8]


def sign(ticket: Ticket, secret: str) -> str:
    """The ticket as part of an address."""
    start = f"v1.{secret_name(secret)}.{_base64(_encode(ticket))}"
    return f"{start}.{_signature(start, secret)}"


def named_secret(text: str) -> str | None:
    """The name of the secret that a ticket says it was signed with; None for a text that is no ticket."""
    return text.split(".")[1] if _TICKET.fullmatch(text) else None


def verify(text: str, secrets: Sequence[str]) -> Ticket | None:
    """The ticket, if one of the secrets signed it."""
    if _TICKET.fullmatch(text) is None:
        return None
    start, _, signature = text.rpartition(".")
    for secret in secrets:
        if hmac.compare_digest(_signature(start, secret), signature):
            content = start.split(".")[2]
            try:
                return _decoder.decode(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))
            except (ValueError, msgspec.MsgspecError):
                return None
    return None


def _signature(start: str, secret: str) -> str:
    return _base64(hmac.digest(secret.encode(), start.encode(), "sha256"))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
