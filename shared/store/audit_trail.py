"""The audit trail: which keys and settings changed, when, and by whom. No texts of jobs.

The scripts that make the changes write the entries: there is no change without its entry.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from shared.store.engine.calls import Reads
from shared.store.keys import OPERATORS, Keys, decode_id, encode_id

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


class WrittenEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it is read. `id` names its place, `at_ms` its time; `organization_id`: the one that it is about,
    None: the operators."""

    id: str
    at_ms: int
    organization_id: str | None
    entry: AuditEntry


class AuditPage(msgspec.Struct, frozen=True):
    """Entries, newest first. `cursor` continues; None at the end."""

    entries: list[WrittenEntry]
    cursor: str | None


PIECE: Final = 500
SCANNED_MAX: Final = 10_000
"""Entries that one page reads at most: it may be shorter than asked, its cursor goes on."""

CURSOR_PATTERN: Final = r"^[1-9]\d{0,15}-\d{1,15}$"
"""Ids of a stream's entries; one below the first possible, or too long for the server, is none."""

_CURSOR: Final = re.compile(CURSOR_PATTERN.removesuffix("$") + r"\Z", re.ASCII)
_decoder: Final = msgspec.json.Decoder(AuditEntry)


class AuditTrail:
    """The reader of one store's trail. May raise StoreUnavailable."""

    def __init__(self, reads: Reads, keys: Keys) -> None:
        self._reads = reads
        self._key = keys.fixed("audit_trail")

    async def page(self, organization_id: str | None, *, every: bool, cursor: str | None, limit: int) -> AuditPage:
        """Up to `limit` entries before `cursor`. `every`: of all organisations, whatever `organization_id` says; None:
        the operators'. ValueError for a cursor that was not made here."""
        before = _read_cursor(cursor)
        wanted = OPERATORS if organization_id is None else encode_id(organization_id)
        found: list[WrittenEntry] = []
        for _ in range(SCANNED_MAX // PIECE):
            rows = await self._rows(before)
            for entry_id, fields in rows:
                if every or fields.get(b"o", b"").decode() == wanted:
                    found += _written(entry_id, fields)
                if len(found) == limit:
                    return AuditPage(found, entry_id)
            if len(rows) < PIECE:
                return AuditPage(found, None)
            before = f"({rows[-1][0]}"
        return AuditPage(found, before[1:])

    async def _rows(self, before: str) -> list[tuple[str, dict[bytes, bytes]]]:
        """Ids and fields of the entries before one, the newest first."""
        rows = await self._reads.execute("XREVRANGE", self._key, before, "-", "COUNT", PIECE)
        return [(entry_id.decode(), dict(zip(flat[::2], flat[1::2], strict=True))) for entry_id, flat in rows]


def _read_cursor(cursor: str | None) -> str:
    """The end of the range of entries before a cursor; None: of all."""
    if cursor is None:
        return "+"
    if _CURSOR.match(cursor) is None:
        raise ValueError("not a cursor of the audit trail")
    return f"({cursor}"


def _written(entry_id: str, fields: dict[bytes, bytes]) -> list[WrittenEntry]:
    """The entry; none for one that cannot be read."""
    try:
        stored = _decoder.decode(fields[b"e"])
        holder = fields[b"o"].decode()
    except (KeyError, ValueError, msgspec.MsgspecError):
        return []
    organization = None if holder == OPERATORS else decode_id(holder)
    return [
        WrittenEntry(id=entry_id, at_ms=int(entry_id.partition("-")[0]), organization_id=organization, entry=stored)
    ]
