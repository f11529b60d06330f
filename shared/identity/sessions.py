"""Sessions of the console: a key, exchanged for a signed cookie that names it.

The cookie holds no right: its key is checked with every call. Browsers send it with every call to this host, so each
must show that a page of this very origin makes it, and one that changes something a token that other pages cannot read.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from shared.http.auth import Identity
from shared.http.cors import is_foreign
from shared.http.problems import FOREIGN_SESSION, Problem
from shared.http.urls import prefix_of
from shared.identity import signed_texts
from shared.identity.client_address import ClientAddresses
from shared.identity.refusals import Reason, Refused
from shared.identity.signing_secrets import SigningSecrets

SECONDS: Final = 12 * 3600
"""Longest life of a session."""

TOKEN_HEADER: Final = "x-presswork-token"  # noqa: S105 - a header's name
_VERSION: Final = "s1"
_NAME: Final = "presswork"
_SAFE: Final = frozenset({"GET", "HEAD"})


class Session(msgspec.Struct, frozen=True, array_like=True):
    """`name`, `key_id`: of the identity that signed in. `expires_at`: s since the epoch."""

    name: str
    key_id: str
    expires_at: int
    nonce: str


_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(Session)


def token_of(cookie: str) -> str:
    """The token of a session: known to the pages that it was sent to, for none reads the cookie itself."""
    return signed_texts.encoded(hashlib.sha256(b"token " + cookie.encode()).digest())


class Sessions:
    """Of one gateway."""

    def __init__(self, signing: SigningSecrets, addresses: ClientAddresses) -> None:
        self._secrets = signing
        self._addresses = addresses

    async def issue(self, identity: Identity) -> tuple[str, Session]:
        """The cookie's text for this caller, and the session in it. StoreUnavailable: no secret is known."""
        expires = time.time() + SECONDS
        if identity.expires_at is not None:
            expires = min(expires, identity.expires_at)
        session = Session(identity.name, identity.key_id, int(expires), secrets.token_urlsafe(9))
        return signed_texts.sign(_VERSION, _encode(session), await self._secrets.newest()), session

    def set_cookie(self, scope: Mapping[str, Any], text: str, seconds: int) -> str:
        """The header `Set-Cookie`; an empty text with 0 s takes the cookie away."""
        secure = "; Secure" if self._addresses.over_tls(scope) else ""
        path = prefix_of(scope) or "/"
        return f"{self._name(scope)}={text}; Max-Age={seconds}; Path={path}; HttpOnly; SameSite=Strict{secure}"

    def _name(self, scope: Mapping[str, Any]) -> str:
        """Names that browsers vouch for where there is TLS; elsewhere with the port, for hosts share their cookies
        between ports."""
        if self._addresses.over_tls(scope):
            return f"__Secure-{_NAME}" if prefix_of(scope) else f"__Host-{_NAME}"
        host = next(iter(_values(scope, b"host")), b"").decode("latin-1")
        port = host.rpartition("]")[2].rpartition(":")[2]
        return f"{_NAME}-{port if port.isdecimal() else '80'}"

    def given(self, scope: Mapping[str, Any]) -> str:
        """The text of the session's cookie in a request; empty: there is none."""
        name = self._name(scope)
        for held in b"; ".join(_values(scope, b"cookie")).decode("latin-1").split(";"):
            found, _, text = held.strip().partition("=")
            if found == name:
                return text
        return ""

    async def open(self, scope: Mapping[str, Any], text: str) -> Session:
        """The session, as it was signed. Refused; a 403 `Problem` for a call that no page of ours makes;
        StoreUnavailable: no secret is known yet."""
        self.check_origin(scope)
        named = signed_texts.named_secret(_VERSION, text)
        if named is None:
            raise Refused(Reason.BAD_SESSION)
        content = signed_texts.verify(_VERSION, text, await self._secrets.valid(named))
        if content is None:
            raise Refused(Reason.BAD_SESSION)

        session = _decoder.decode(content)
        if session.expires_at <= time.time():
            raise Refused(Reason.EXPIRED, session.key_id)
        if scope["method"] not in _SAFE and not _shows(scope, token_of(text)):
            raise Problem(FOREIGN_SESSION, f"a change needs the session's token in {TOKEN_HEADER}")
        return session

    def check_origin(self, scope: Mapping[str, Any]) -> None:
        """Raise a 403 `Problem` unless a page of this origin makes the call: of this site is not enough, for another
        port of a laptop is of the same site."""
        site = _values(scope, b"sec-fetch-site")
        if site:
            own = site == [b"same-origin"]
        else:
            origin, hosts = _values(scope, b"origin"), _values(scope, b"host") + _values(scope, b"x-forwarded-host")
            own = bool(origin) and not is_foreign(origin, [], hosts)
            own = own and origin[0].startswith(b"https:" if self._addresses.over_tls(scope) else b"http")
        if not own:
            raise Problem(FOREIGN_SESSION, "call with a key in Authorization instead, or from the console's page")


def _values(scope: Mapping[str, Any], wanted: bytes) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == wanted]


def _shows(scope: Mapping[str, Any], token: str) -> bool:
    given = _values(scope, TOKEN_HEADER.encode())
    return len(given) == 1 and hmac.compare_digest(given[0], token.encode())
