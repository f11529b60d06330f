"""The audit trail: which keys and settings changed, when, and by whom. No texts of jobs.

The scripts that make the changes write the entries: there is no change without its entry.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

TRAIL_LENGTH: Final = 100_000
"""Entries that are kept, about: older ones go."""

_encode: Final = msgspec.json.Encoder().encode


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """The maker of a change. `key_id`: its key, token or subject; `organization_id` None: an operator.

    `address`: of the connection or of the proxy's client; empty: made on the command line. `request_id`: the caller's
    own, else one of ours.
    """

    key_id: str
    organization_id: str | None = None
    address: str = ""
    request_id: str = ""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change as it is stored; when and for which organisation stands beside it. Names are short: many are kept.

    `a`: the action, `k`, `o`, `ip`, `rq`: of the actor, `d`: details.
    """

    a: str
    k: str
    o: str | None = None
    ip: str = ""
    rq: str = ""
    d: dict[str, Any] = {}


def entry(action: str, actor: Actor, **details: Any) -> bytes:
    """The entry of an action, as JSON. `details` hold no secret and no text of a job."""
    stored = AuditEntry(
        a=action, k=actor.key_id, o=actor.organization_id, ip=actor.address, rq=actor.request_id, d=details
    )
    return _encode(stored)
