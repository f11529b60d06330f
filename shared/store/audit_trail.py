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


Row = tuple[bytes, list[bytes]]


class AuditTrail:
    """The reader of one store's trail. May raise StoreUnavailable."""

    def __init__(self, reads: Reads, keys: Keys) -> None:
        self._reads = reads
        self._keys = keys

    async def page(self, organization_id: str | None, *, every: bool, cursor: str | None, limit: int) -> AuditPage:
        """Up to `limit` entries before `cursor`. `every`: of all organisations, whatever `organization_id` says, but
        for what was done to single jobs; None: the operators'. ValueError for a cursor that was not made here."""
        if cursor is not None and _CURSOR.match(cursor) is None:
            raise ValueError("not a cursor of the audit trail")
        holder = OPERATORS if organization_id is None else encode_id(organization_id)
        streams = [self._keys.fixed("audit_trail"), self._keys.fixed("refusal_trail")]
        if not every and organization_id is not None:
            streams.append(self._keys.job_trail(holder))

        wanted = None if every else holder
        found: list[WrittenEntry] = []
        before = "+" if cursor is None else f"({cursor}"
        for _ in range(SCANNED_MAX // PIECE):
            rows, more = await self._piece(streams, before)
            for raw, flat in rows:
                entry_id = raw.decode()
                before = f"({entry_id}"
                found += _written(entry_id, flat, wanted)
                if len(found) == limit:
                    return AuditPage(found, entry_id)
            if not more:
                return AuditPage(found, None)
        return AuditPage(found, before[1:])

    async def _piece(self, streams: list[str], before: str) -> tuple[list[Row], bool]:
        """The next entries of all streams, newest first, as far back as each was read; and whether there are more."""
        pieces: list[list[Row]] = [
            await self._reads.execute("XREVRANGE", stream, before, "-", "COUNT", PIECE) for stream in streams
        ]
        reached = max((_order(rows[-1]) for rows in pieces if len(rows) == PIECE), default=None)
        rows = sorted((row for rows in pieces for row in rows), key=_order, reverse=True)
        if reached is None:
            return rows, False
        return [row for row in rows if _order(row) >= reached], True


def _order(row: Row) -> tuple[int, int]:
    ms, _, number = row[0].partition(b"-")
    return int(ms), int(number)


def _written(entry_id: str, flat: list[bytes], wanted: str | None) -> list[WrittenEntry]:
    """The entry; none for one of another holder than `wanted`, and for one that cannot be read."""
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    try:
        holder = fields[b"o"].decode()
        if wanted is not None and holder != wanted:
            return []
        stored = _decoder.decode(fields[b"e"])
    except (KeyError, ValueError, msgspec.MsgspecError):
        return []

    organization = None if holder == OPERATORS else decode_id(holder)
    return [
        WrittenEntry(id=entry_id, at_ms=int(entry_id.partition("-")[0]), organization_id=organization, entry=stored)
    ]
