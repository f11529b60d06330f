"""Turns a request into an `Identity`: the one place where tokens and keys are checked."""

from __future__ import annotations

import datetime
import hmac
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar.di import Provide
from litestar.types import Scope as HttpScope
from prometheus_client import CollectorRegistry

from shared.errors import SettingsInvalid, StoreUnavailable
from shared.http.access import is_loopback
from shared.http.auth import ALL, ANONYMOUS, OPERATORS, ApiTokens, Identity, Scope
from shared.identity import key_text
from shared.identity.client_address import ClientAddresses
from shared.identity.jwt_settings import check_jwt
from shared.identity.key_ring import KeyRing
from shared.identity.key_use import KeyUse
from shared.identity.refusals import Reason, Refusals, Refused
from shared.identity.sessions import Session, Sessions
from shared.identity.settings import IdentitySettings
from shared.identity.signing_secrets import read_secrets
from shared.identity.ticket_signer import TicketSigner, ticket_of
from shared.identity.tickets import Ticket
from shared.store.api_keys import ApiKey
from shared.store.job_store import JobStore

if TYPE_CHECKING:
    from shared.identity.jwt_tokens import JwtTokens

_DAY: Final = "%Y-%m-%d"
_READER: Final = frozenset({Scope.EVENTS_READ})


class Authenticator:
    """Checks bearer tokens: those of API_TOKENS, keys in Redis, and JWTs.

    Where no token is asked for, callers without one are anonymous; a key that is presented there is checked too.
    """

    def __init__(self, settings: IdentitySettings, *, host: str, registry: CollectorRegistry) -> None:
        """SettingsInvalid when a setting is malformed, or when a service that others can reach asks for no token."""
        self._tokens = ApiTokens(settings.api_tokens)
        self._jwt = _jwt_tokens(settings) if check_jwt(settings) else None
        self.required = bool(self._tokens) or settings.api_keys or self._jwt is not None
        """Whether a token is asked for."""
        if not self.required and not settings.allow_anonymous and not is_loopback(host):
            raise SettingsInvalid(
                f"API_TOKENS is not set and {host} is not loopback: set it, or API_KEYS=1 to ask for keys, or "
                "ALLOW_ANONYMOUS=1 to serve all callers"
            )

        self.addresses = ClientAddresses(settings.trusted_proxies)
        self._refusals = Refusals(self.addresses, registry)
        # On loopback alone every caller may administer: where others call without a token nobody may.
        self._anonymous = msgspec.structs.replace(ANONYMOUS, scopes=ALL) if is_loopback(host) else ANONYMOUS
        self._ticket_secrets = read_secrets(settings.ticket_secret)
        self._ticket_seconds = settings.ticket_seconds
        self._signer: TicketSigner | None = None
        self.sessions: Sessions | None = None
        """Those of the console, where one is served: set by `knowing`."""
        self._ring: KeyRing | None = None
        self._use: KeyUse | None = None

    @asynccontextmanager
    async def knowing(self, store: JobStore, *, writes: bool, sessions: bool = False) -> AsyncIterator[TicketSigner]:
        """Know the keys of this store for the length of the block. `writes`: the days of their use are noted, and the
        secret of tickets is made; `sessions`: a session's cookie is as good as the key that it was made for."""
        self._ring = KeyRing(store, revised=writes)
        self._use = KeyUse(store.api_keys) if writes else None
        self._signer = TicketSigner(
            self._ticket_secrets, store.ticket_secrets, seconds=self._ticket_seconds, makes=writes,
            frugal=store.settings.frugal,
        )  # fmt: skip
        self.sessions = Sessions(self._signer.secrets, self.addresses) if sessions else None

        try:
            yield self._signer
        finally:
            await self._ring.aclose()
            if self._jwt is not None:
                await self._jwt.aclose()
            if self._use is not None:
                await self._use.aclose()

    async def identify(self, scope: Mapping[str, Any]) -> Identity:
        """The caller of a request; a 401 or 429 `Problem` when there is none. StoreUnavailable: an unread key."""
        given = _authorization(scope["headers"])
        try:
            if not given and self.required and self.sessions is not None and (text := self.sessions.given(scope)):
                return await self._session_holder(await self.sessions.open(scope, text))
            if self.required or given[:3] == key_text.START.encode():
                return await self._caller(given)
        except Refused as refused:
            raise self._refusals.problem(refused, scope) from None
        return self._anonymous

    async def identify_reader(self, scope: Mapping[str, Any]) -> Identity:
        """The caller of a request for events, who may show a ticket in place of a token; errors as above."""
        ticket = ticket_of(scope["query_string"])
        if not ticket or self._signer is None or _authorization(scope["headers"]):
            return await self.identify(scope)
        try:
            return await self._ticket_holder(await self._signer.open(ticket))
        except Refused as refused:
            raise self._refusals.problem(refused, scope) from None

    async def _ticket_holder(self, ticket: Ticket) -> Identity:
        """The identity of a ticket; Refused when the caller that it was made for is none any more."""
        expires_at: float = ticket.expires_at
        if ticket.key_id:
            held = await self._holder_of(ticket.key_id)
            expires_at = min(expires_at, held.expires_at or expires_at)
        elif ticket.name == ANONYMOUS.name:
            if self.required:
                raise Refused(Reason.BAD_TICKET)
        elif not self._stands(ticket.name):
            raise Refused(Reason.REVOKED)

        return Identity(
            ticket.organization_id, scopes=_READER, name=ticket.name, key_id=ticket.key_id, expires_at=expires_at,
            ticket_for=ticket.about,
        )  # fmt: skip

    async def _session_holder(self, session: Session) -> Identity:
        """The identity that signed in, as it stands now; Refused when it is none any more."""
        held = await self._holder_of(session.key_id) if session.key_id else self._tokens.named(session.name)
        if held is None:
            raise Refused(Reason.REVOKED)
        expires_at = min(session.expires_at, held.expires_at or session.expires_at)
        return msgspec.structs.replace(held, expires_at=expires_at)

    async def _holder_of(self, key_id: str) -> Identity:
        """The identity of a key that one of our own texts names; Refused when it has ended."""
        key = None if self._ring is None else await self._ring.find(key_id)
        if key is None:
            raise Refused(Reason.UNKNOWN)
        return self.identity_of(key)

    async def sign_in(self, scope: Mapping[str, Any], token: str) -> Identity:
        """The caller of a key or token that is exchanged for a session; errors as of `identify`."""
        try:
            return self._lasting(await self._caller(token.strip().encode()))
        except Refused as refused:
            raise self._refusals.problem(refused, scope) from None

    def _lasting(self, identity: Identity) -> Identity:
        """The same; Refused when no session could name it: a JWT has a life of its own."""
        if not identity.key_id and self._tokens.named(identity.name) is None:
            raise Refused(Reason.BAD_SESSION)
        return identity

    def _stands(self, name: str) -> bool:
        """Whether a token, or a subject's issuer, is one still."""
        return self._tokens.named(name) is not None or (self._jwt is not None and self._jwt.issued(name))

    async def holds(self, identity: Identity) -> bool:
        """Whether an identity that was found earlier is one still: its key may have ended since."""
        if identity.expires_at is not None and identity.expires_at <= time.time():
            return False
        if not identity.key_id or self._ring is None:
            return True
        try:
            key = await self._ring.find(identity.key_id)
        except StoreUnavailable:
            return False
        return key is not None and not key.ended(time.time() * 1000)

    def on_change(self, notify: Callable[[], None]) -> None:
        """Call `notify` whenever a key changed."""
        if self._ring is not None:
            self._ring.on_change.append(notify)

    def provide(self) -> Provide:
        """The dependency `identity` of typed handlers: a caller with the scope that the handler names."""

        async def identity(scope: HttpScope) -> Identity:
            found = await self.identify(scope)
            found.require_scope(scope["route_handler"].opt["scope"])
            return found

        return Provide(identity)

    async def _caller(self, token: bytes) -> Identity:
        if not token:
            raise Refused(Reason.MISSING)
        if (found := self._tokens.find(token)) is not None:
            return found
        text = token.decode("latin-1")
        if text.startswith(key_text.START):
            return await self._holder(text)
        if self._jwt is not None and text.count(".") == 2:
            return await self._jwt.identify(text)
        raise Refused(Reason.UNKNOWN)

    async def _holder(self, text: str) -> Identity:
        key_id = key_text.id_of(text)
        if key_id is None:
            raise Refused(Reason.MALFORMED)
        if key_text.is_mistyped(text):
            raise Refused(Reason.MISTYPED)

        key = None if self._ring is None else await self._ring.find(key_id)
        if key is None or not hmac.compare_digest(key.digest, key_text.digest_of(text)):
            raise Refused(Reason.UNKNOWN)
        return self.identity_of(key)

    def identity_of(self, key: ApiKey) -> Identity:
        """The identity of a key that was proven; Refused when it has ended."""
        if key.revoked_ms is not None or key.ended(time.time() * 1000):
            reason = Reason.EXPIRED if key.revoked_ms is None else Reason.REVOKED
            raise Refused(reason, key.id, OPERATORS if key.organization_id is None else key.organization_id)

        if self._use is not None:
            self._use.used(key, datetime.datetime.now(datetime.UTC).strftime(_DAY))
        return Identity(
            key.organization_id,
            scopes=_scopes(key.scopes),
            name=f"key:{key.id}",
            key_id=key.id,
            models=frozenset(key.models),
            expires_at=None if key.expires_ms is None else key.expires_ms / 1000,
        )


def _jwt_tokens(settings: IdentitySettings) -> JwtTokens:
    from shared.identity.jwt_tokens import JwtTokens  # noqa: PLC0415 - only who accepts JWTs needs the library

    return JwtTokens(settings)


@lru_cache(maxsize=256)
def _scopes(names: tuple[str, ...]) -> frozenset[Scope]:
    """Known ones: a newer release may have given more."""
    return ALL.intersection(names)


def _authorization(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The bearer token of raw ASGI headers; empty for none, and for another scheme."""
    given = next((value for name, value in headers if name == b"authorization"), b"")
    scheme, _, token = given.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""
