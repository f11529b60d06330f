"""Event tickets: a browser shows one in place of a header, for EventSource sends none.

`v1.<secret>.<content>.<signature>`: the beginning of the secret's hash, the ticket as base64url JSON, HMAC-SHA-256.
It is bound to one job, or to an organisation's events, reads events and nothing else, and stands and falls with the
key that it was made for. It is not single-use: EventSource comes back with the same address. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from shared.identity import signed_texts
from shared.identity.signed_texts import secret_name

__all__ = ["ORGANIZATION_EVENTS", "Ticket", "named_secret", "secret_name", "sign", "verify"]

ORGANIZATION_EVENTS: Final = "*"
"""Of a ticket for an organisation's events: no job is called so."""

_VERSION: Final = "v1"


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


def sign(ticket: Ticket, secret: str) -> str:
    """The ticket as part of an address."""
    return signed_texts.sign(_VERSION, _encode(ticket), secret)


def named_secret(text: str) -> str | None:
    """The name of the secret that a ticket says it was signed with; None for a text that is no ticket."""
    return signed_texts.named_secret(_VERSION, text)


def verify(text: str, secrets: Sequence[str]) -> Ticket | None:
    """The ticket, if one of the secrets signed it."""
    content = signed_texts.verify(_VERSION, text, secrets)
    if content is None:
        return None
    try:
        return _decoder.decode(content)
    except msgspec.MsgspecError:
        return None
