"""Turns a request into an `Identity`: the only place that reads keys and tickets."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final

import msgspec
from litestar.di import Provide
from litestar.types import Scope

from shared.errors import SettingsInvalid
from shared.http.access import is_loopback
from shared.http.problems import FORBIDDEN, FieldError, Problem, unauthorized
from shared.job import IDENTIFIER

_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")


class Identity(msgspec.Struct, frozen=True):
    """The caller. `organization_id` None: any organisation (an operator's token, or no token is required here)."""

    organization_id: str | None = None

    def may_see(self, organization_id: str) -> bool:
        """Whether this identity may learn of that organisation's jobs (I9)."""
        return self.organization_id is None or self.organization_id == organization_id

    def require(self, organization_id: str, field: str = "organizationId") -> None:
        """Raise a 403 `Problem` that names `field`, unless this identity may learn of that organisation's jobs."""
        if not self.may_see(organization_id):
            raise Problem(FORBIDDEN, errors=[FieldError(field, "not the token's organization")])


ANONYMOUS: Final = Identity()


class _Token(msgspec.Struct, frozen=True):
    digest: str
    identity: Identity


def hash_token(token: str) -> str:
    """The entry of a token in API_TOKENS: SHA-256, in hex. Enough for random tokens; never use it for passwords."""
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
    """Checks bearer tokens against the hashes of API_TOKENS; without any, all callers are `ANONYMOUS`."""

    def __init__(self, api_tokens: str, *, host: str, allow_anonymous: bool) -> None:
        """Read the lines. SettingsInvalid when one is malformed, or when a service that others can reach has none."""
        self._tokens = _read(api_tokens)
        if not self._tokens and not allow_anonymous and not is_loopback(host):
            raise SettingsInvalid(
                f"API_TOKENS is not set and {host} is not loopback: set it, or ALLOW_ANONYMOUS=1 to serve all callers"
            )

    @property
    def required(self) -> bool:
        """Whether a token is required."""
        return bool(self._tokens)

    def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> Identity:
        """The identity in raw ASGI headers; raises a 401 `Problem` when there is none."""
        if not self._tokens:
            return ANONYMOUS
        given = next((value for name, value in headers if name == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise unauthorized()
        digest = hashlib.sha256(token.strip()).hexdigest()
        found: Identity | None = None
        for known in self._tokens:  # all of them, so that the time shows nothing
            if hmac.compare_digest(known.digest, digest):
                found = known.identity
        if found is None:
            raise unauthorized()
        return found

    def provide(self) -> Provide:
        """The dependency `identity` of typed handlers."""

        def identity(scope: Scope) -> Identity:
            return self.identify(scope["headers"])

        return Provide(identity, sync_to_thread=False)
