"""`Identity`: who calls, for which organisation, with which rights. `shared/identity` finds it for a request."""

from __future__ import annotations

import hashlib
import hmac
import re
from enum import StrEnum
from typing import Final

import msgspec

from shared.errors import SettingsInvalid
from shared.http.problems import FORBIDDEN, INSUFFICIENT_SCOPE, MODEL_NOT_ALLOWED, OPERATORS_ONLY, FieldError, Problem
from shared.job_ids import IDENTIFIER

OPERATORS: Final = "*"
"""In the place of an organisation's id: of none. No organisation's id is so in a key of Redis."""

_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")


class Scope(StrEnum):
    """A right. Each call asks for one."""

    JOBS_WRITE = "jobs:write"
    JOBS_READ = "jobs:read"
    JOBS_CANCEL = "jobs:cancel"
    EVENTS_READ = "events:read"
    USAGE_READ = "usage:read"
    STATS_READ = "stats:read"
    ADMIN = "admin"


ALL: Final = frozenset(Scope)
ALL_BUT_ADMIN: Final = ALL - {Scope.ADMIN}


class Identity(msgspec.Struct, frozen=True):
    """The caller. `organization_id` None: any organisation (an operator's token, or no token is asked for here).

    `name`: of its key, token or subject, for the audit trail. `key_id`: the key that it stands and falls with, empty
    when there is none. `models`: those it may use, empty: all. `expires_at`: when it ends, s since the epoch.
    `ticket_for`: the one job that a ticket is for, or `*`: its organisation's events; empty: there is no ticket.
    """

    organization_id: str | None = None
    scopes: frozenset[Scope] = ALL_BUT_ADMIN
    name: str = "anonymous"
    key_id: str = ""
    models: frozenset[str] = frozenset()
    expires_at: float | None = None
    ticket_for: str = ""

    @property
    def holder(self) -> str:
        """The organisation; `*`: an operator's."""
        return OPERATORS if self.organization_id is None else self.organization_id

    def may_see(self, organization_id: str) -> bool:
        """Whether this identity may learn of that organisation's jobs (I9)."""
        return self.organization_id is None or self.organization_id == organization_id

    def require(self, organization_id: str, field: str = "organizationId") -> None:
        """Raise a 403 `Problem` that names `field`, unless this identity may learn of that organisation's jobs."""
        if not self.may_see(organization_id):
            raise Problem(FORBIDDEN, errors=[FieldError(field, "not the token's organization")], refused=self.holder)

    def require_scope(self, scope: Scope) -> None:
        """Raise a 403 `Problem` that names the scope, unless this identity has it."""
        if scope not in self.scopes:
            challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
            headers = {"WWW-Authenticate": challenge}
            raise Problem(INSUFFICIENT_SCOPE, f"{scope} is needed", headers=headers, refused=self.holder)

    def require_operator(self) -> None:
        """Raise a 403 `Problem` for an identity that is bound to an organisation."""
        if self.organization_id is not None:
            raise Problem(OPERATORS_ONLY, refused=self.holder)

    def require_model(self, name: str, field: str = "model") -> None:
        """Raise a 403 `Problem` that names `field`, unless this identity may use `provider:model`."""
        if self.models and name not in self.models:
            errors = [FieldError(field, f"{name} is not a model of this key")]
            raise Problem(MODEL_NOT_ALLOWED, errors=errors, refused=self.holder)


ANONYMOUS: Final = Identity()


def hash_token(token: str) -> str:
    """The entry of a token in API_TOKENS: SHA-256, in hex. Enough for random tokens; never use it for passwords."""
    return hashlib.sha256(token.encode()).hexdigest()


class ApiTokens:
    """The tokens of API_TOKENS. One that is bound to no organisation is an operator's."""

    def __init__(self, lines: str) -> None:
        """SettingsInvalid for a malformed line."""
        self._known: list[tuple[str, Identity]] = []
        for number, line in enumerate(lines.splitlines(), 1):
            words = line.split()
            if words:
                self._add(number, words)

    def _add(self, number: int, words: list[str]) -> None:
        digest = words[0].lower()
        if len(words) > 2 or _HASH.match(digest) is None:
            raise SettingsInvalid(f"API_TOKENS line {number} is not `<sha256 in hex> [organization]`")
        if len(words) == 2 and IDENTIFIER.match(words[1]) is None:
            raise SettingsInvalid(f"API_TOKENS line {number} names an organization that cannot be one")
        bound = len(words) == 2
        identity = Identity(
            words[1] if bound else None, scopes=ALL_BUT_ADMIN if bound else ALL, name=f"token:{digest[:12]}"
        )
        self._known.append((digest, identity))

    def __bool__(self) -> bool:
        return bool(self._known)

    def find(self, token: bytes) -> Identity | None:
        """The identity of a token."""
        digest = hashlib.sha256(token).hexdigest()
        found = None
        for known, identity in self._known:  # all of them, so that the time shows nothing
            if hmac.compare_digest(known, digest):
                found = identity
        return found

    def named(self, name: str) -> Identity | None:
        """The identity of that name, if its token is still one."""
        return next((identity for _, identity in self._known if identity.name == name), None)
