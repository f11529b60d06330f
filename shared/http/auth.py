"""Who asks: the one place that turns a request into an `Identity`. Keys and tickets per tenant will come in here."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from shared.errors import SettingsInvalid
from shared.http.hosts import is_loopback
from shared.http.problems import FORBIDDEN, FieldError, Problem, unauthorized
from shared.job import IDENTIFIER

_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")


class Identity(msgspec.Struct, frozen=True):
    """Who asks. `organization_id` None: any organisation (an operator's token, or nobody asks for tokens here)."""

    organization_id: str | None = None

    def may_see(self, organization_id: str) -> bool:
        """Whether this identity may know of that organisation's jobs (I9)."""
        return self.organization_id is None or self.organization_id == organization_id

    def require(self, organization_id: str, field: str = "organizationId") -> None:
        """Raise a 403 `Problem` that names `field`, unless this identity may know of that organisation's jobs."""
        if not self.may_see(organization_id):
            raise Problem(FORBIDDEN, errors=[FieldError(field, "not the token's organization")])


ANYBODY: Final = Identity()


class _Token(msgspec.Struct, frozen=True):
    digest: str
    identity: Identity


def hash_token(token: str) -> str:
    """What stands in API_TOKENS for a token: SHA-256, in hex. Enough for random tokens; never use it for passwords."""
    return hashlib.sha256(token.encode()).hexdigest()


def _read(lines: str) -> list[_Token]:
    tokens = []
    for number, line in enumerate(lines.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) > 2 or _HASH.match(words[0].lower()) is None:
            raise SettingsInvalid(f"API_TOKENS line {number} is not `<sha256 in hex> [organization]`")
        if len(words) == 2 and IDENTIFIER.match(words[1]) is None:
            raise SettingsInvalid(f"API_TOKENS line {number} names an organization that cannot be one")
        tokens.append(_Token(words[0].lower(), Identity(words[1] if len(words) == 2 else None)))
    return tokens


class Authenticator:
    """Checks bearer tokens against the hashes of API_TOKENS; without any, everybody is `ANYBODY`."""

    def __init__(self, api_tokens: str, *, host: str, allow_anonymous: bool) -> None:
        """SettingsInvalid when a line is malformed, or when nobody guards a service that others can reach."""
        self._tokens = _read(api_tokens)
        if not self._tokens and not allow_anonymous and not is_loopback(host):
            raise SettingsInvalid(
                f"API_TOKENS is not set and {host} is not loopback: set it, or ALLOW_ANONYMOUS=1 to serve anybody"
            )

    @property
    def required(self) -> bool:
        """Whether a token is asked for."""
        return bool(self._tokens)

    def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> Identity:
        """The identity behind raw ASGI headers; raises a 401 `Problem` when there is none."""
        if not self._tokens:
            return ANYBODY
        given = next((value for name, value in headers if name == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise unauthorized()
        digest = hashlib.sha256(token.strip()).hexdigest()
        found: Identity | None = None
        for known in self._tokens:  # all of them, so that the time tells nothing
            if hmac.compare_digest(known.digest, digest):
                found = known.identity
        if found is None:
            raise unauthorized()
        return found

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """For `Router(middleware=[...])`: what it wraps finds the identity as `request.user`, others get a 401."""

        async def identified(scope: Scope, receive: Receive, send: Send) -> None:
            user: dict[str, Any] = scope  # type: ignore[assignment]  # the scope is an open mapping
            user["user"] = self.identify(scope["headers"])
            user["auth"] = None
            await app(scope, receive, send)

        return identified
