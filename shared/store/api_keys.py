"""API keys in Redis: made, replaced, ended, listed and read. The text of a key is never stored, only its SHA-256.

Fields of `key:<id>`: `hash` (hex), `org` (encoded; `*`: an operator's), `scopes` and `models` (separated by blanks),
`label`, `by` (the key that made it), `created`, `expires`, `revoked` (ms since the epoch, Redis's clock), `used` (the
day it was used last).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from shared.errors import KeyNotFound, StoreUnavailable, TooManyKeys
from shared.store.audit_trail import TRAIL_LENGTH, Actor, entry
from shared.store.engine.calls import Reads, ScriptCalls
from shared.store.keys import OPERATORS, Keys, decode_id, encode_id

KEYS_MAX: Final = 1000
"""Keys of one organisation, those included that ended lately."""

KEPT_MS: Final = 30 * 86_400_000
"""Time for which listings show a key that ended."""

_FIELDS: Final = ("hash", "org", "scopes", "label", "models", "created", "expires", "revoked", "used")
_encode: Final = msgspec.json.Encoder().encode


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is stored. `organization_id` None: an operator's. `models` empty: all. Times in ms since the epoch;
    `used_on`: the day of its last use, in UTC."""

    id: str
    digest: str
    organization_id: str | None
    scopes: tuple[str, ...]
    label: str = ""
    models: tuple[str, ...] = ()
    created_ms: int = 0
    expires_ms: int | None = None
    revoked_ms: int | None = None
    used_on: str | None = None

    def ended(self, now_ms: float) -> bool:
        """Whether it is revoked, or expired by then."""
        return self.revoked_ms is not None or (self.expires_ms is not None and self.expires_ms <= now_ms)


class ApiKeys:
    """Of one store. Every method may raise StoreUnavailable."""

    def __init__(self, calls: ScriptCalls, reads: Reads, keys: Keys) -> None:
        self._calls = calls
        self._reads = reads
        self._keys = keys

    async def read(self, key_id: str) -> ApiKey | None:
        """The key; None when there is no record of it."""
        values = await self._reads.execute("HMGET", self._keys.api_key(key_id), *_FIELDS)
        return _parse(key_id, values)

    async def revision(self) -> str:
        """A text that is another one after any key was made, replaced or revoked: their scripts write to the audit
        trail. Ids of its entries do not come again when entries are removed. StoreUnavailable also without a trail."""
        flat = await self._reads.execute("XINFO", "STREAM", self._keys.fixed("audit_trail"))
        last = dict(zip(flat[::2], flat[1::2], strict=False)).get(b"last-generated-id")
        if not isinstance(last, bytes):
            raise StoreUnavailable("the server does not tell the last id of a stream")
        return last.decode()

    async def create(
        self, key: ApiKey, actor: Actor, *, replaces: str = "", overlap_ms: int = 0, owner: str | None = None
    ) -> ApiKey:
        """Store a new key; answers it with the time of its creation. TooManyKeys.

        `replaces`: the id of a key that ends `overlap_ms` from now; KeyNotFound when there is none of `owner`
        (None: of any organisation).
        """
        holder = _holder(key.organization_id)
        action = "key.rotated" if replaces else "key.created"
        details: dict[str, Any] = {"id": key.id, "scopes": key.scopes, "label": key.label}
        if replaces:
            details |= {"replaced": replaces, "overlapSeconds": overlap_ms / 1000}
        code, created = await self._calls.administer(
            "create_key", id=key.id, organization=holder, record=_encode(_fields(key, holder, actor)),
            expires=key.expires_ms or 0, keys_max=KEYS_MAX, kept=KEPT_MS, replaced=replaces, overlap=overlap_ms,
            owner="" if owner is None else encode_id(owner), entry=entry(action, actor, **details),
            trail_length=TRAIL_LENGTH,
        )  # fmt: skip
        if code == b"FULL":
            raise TooManyKeys(f"at most {KEYS_MAX}")
        if code == b"MISSING":
            raise KeyNotFound(replaces)
        return msgspec.structs.replace(key, created_ms=int(created))

    async def revoke(self, key_id: str, actor: Actor, *, owner: str | None) -> None:
        """End a key now; one that ended before stays as it is. KeyNotFound: there is none of `owner` (None: of any)."""
        code = await self._calls.administer(
            "revoke_key", id=key_id, owner="" if owner is None else encode_id(owner), kept=KEPT_MS,
            entry=entry("key.revoked", actor, id=key_id), trail_length=TRAIL_LENGTH,
        )  # fmt: skip
        if code == b"MISSING":
            raise KeyNotFound(key_id)

    async def note_use(self, key_id: str, day: str) -> None:
        """Remember the day on which a key was used last, as in 2026-11-29."""
        await self._calls.administer("note_key_use", id=key_id, day=day)

    async def of(self, organization_id: str | None) -> list[ApiKey]:
        """The keys of an organisation, or of the operators, those included that ended lately; oldest first."""
        ids = await self._reads.execute("ZRANGE", self._keys.organization_keys(_holder(organization_id)), 0, -1)
        found = await asyncio.gather(*(self.read(key_id.decode()) for key_id in ids))
        return [key for key in found if key is not None]

    async def all(self) -> list[ApiKey]:
        """The keys of the operators and of all organisations."""
        holders = await self._reads.execute("SMEMBERS", self._keys.fixed("tenants"))
        found = await self.of(None)
        for holder in sorted(holders):
            found += await self.of(decode_id(holder.decode()))
        return found


def _holder(organization_id: str | None) -> str:
    return OPERATORS if organization_id is None else encode_id(organization_id)


def _fields(key: ApiKey, holder: str, actor: Actor) -> list[str]:
    named = {
        "hash": key.digest,
        "org": holder,
        "scopes": " ".join(key.scopes),
        "models": " ".join(key.models),
        "label": key.label,
        "by": actor.key_id,
    }
    return [part for name, value in named.items() if value for part in (name, value)]


def _parse(key_id: str, values: Sequence[bytes | None]) -> ApiKey | None:
    digest, holder, scopes, label, models, created, expires, revoked, used = (
        None if value is None else value.decode("utf-8", "replace") for value in values
    )
    if digest is None or holder is None:
        return None

    return ApiKey(
        id=key_id,
        digest=digest,
        organization_id=None if holder == OPERATORS else decode_id(holder),
        scopes=tuple((scopes or "").split()),
        label=label or "",
        models=tuple((models or "").split()),
        created_ms=_ms(created) or 0,
        expires_ms=_ms(expires),
        revoked_ms=_ms(revoked),
        used_on=used,
    )


def _ms(text: str | None) -> int | None:
    """A time as the scripts write it. One that cannot be read must not make a key that lives for ever."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise StoreUnavailable("the record of an API key is damaged")
    return int(text)
