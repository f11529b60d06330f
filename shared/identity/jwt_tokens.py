"""JWTs of an identity provider become identities (RFC 8725, RFC 9068): the only module that knows PyJWT beside
`jwks.py`.

A JWT is always bound to an organisation, which a claim names; without scopes it has no rights, and it administers only
where JWT_ADMIN says so.
"""

from __future__ import annotations

import re
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from shared.errors import SettingsInvalid
from shared.events import TIME_MAX_MS
from shared.http.auth import ALL, Identity, Scope
from shared.identity.jwks import RSA_BITS_MIN, KeySet, VerificationKey, check_url
from shared.identity.jwt_settings import JwtSettings
from shared.identity.refusals import Reason, Refused
from shared.job_ids import IDENTIFIER
from shared.setting_values import entries
from shared.store.keys import OPERATORS

ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""Asymmetric ones alone: a public key can never be taken for a shared secret."""

LENGTH_MAX: Final = 8192
SUBJECT_MAX: Final = 255
_REQUIRED: Final = ("exp", "iss", "aud", "sub")
_HALF: Final = re.compile(r"[\ud800-\udfff]")


def name_of(issuer: str, subject: str) -> str:
    """The name of a subject, in audit entries and tickets."""
    return f"jwt:{issuer} {subject}"


class JwtTokens:
    """Of one issuer."""

    def __init__(self, settings: JwtSettings) -> None:
        """SettingsInvalid for settings that do not go together."""
        self._settings = settings
        self._types = {_type(name) for name in entries(settings.jwt_types)}
        self._fixed = _public_key(settings.jwt_public_key) if settings.jwt_public_key else None
        self._keys = None
        if self._fixed is None:
            check_url(settings.jwt_jwks_url)
            self._keys = KeySet(settings.jwt_jwks_url)

    async def aclose(self) -> None:
        """Fetch no keys any more."""
        if self._keys is not None:
            await self._keys.aclose()

    def issued(self, name: str) -> bool:
        """Whether a name is of a subject of this issuer."""
        return name.startswith(name_of(self._settings.jwt_issuer, ""))

    async def identify(self, token: str) -> Identity:
        """The identity of a token. Refused; IdentityUnavailable: there is no key set yet."""
        header = self._header(token)
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise Refused(Reason.BAD_JWT)

        key = self._fixed or (await self._keys.find(kid) if self._keys is not None else None)
        if key is None or key.algorithm not in (None, header["alg"]):
            raise Refused(Reason.BAD_JWT)
        return self._identity(self._claims(token, key, header["alg"]))

    def _header(self, token: str) -> dict[str, Any]:
        """Of a token whose kind is accepted."""
        if len(token) > LENGTH_MAX:
            raise Refused(Reason.MALFORMED)

        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Refused(Reason.MALFORMED) from None

        kind = header.get("typ")
        # No extension is known here, so none that is critical may be there (RFC 7515, 4.1.11).
        if "crit" in header or header.get("alg") not in ALGORITHMS:
            raise Refused(Reason.BAD_JWT)
        if not isinstance(kind, str) or _type(kind) not in self._types:
            raise Refused(Reason.BAD_JWT)
        return header

    def _claims(self, token: str, key: VerificationKey, algorithm: str) -> dict[str, Any]:
        settings = self._settings
        try:
            claims: dict[str, Any] = jwt.decode(
                token, key.key, algorithms=[algorithm], issuer=settings.jwt_issuer, audience=settings.jwt_audience,
                leeway=settings.jwt_leeway_seconds, options={"require": list(_REQUIRED)},
            )  # fmt: skip
        except jwt.ExpiredSignatureError:
            raise Refused(Reason.EXPIRED) from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, UnsupportedAlgorithm):
            raise Refused(Reason.BAD_JWT) from None
        return claims

    def _identity(self, claims: dict[str, Any]) -> Identity:
        organization = claims.get(self._settings.jwt_organization_claim)
        subject, expires = claims["sub"], claims["exp"]
        if isinstance(expires, bool) or not isinstance(expires, int | float):  # PyJWT takes a text of digits too
            raise Refused(Reason.BAD_JWT)
        if not isinstance(organization, str) or organization == OPERATORS or IDENTIFIER.match(organization) is None:
            raise Refused(Reason.BAD_JWT)
        if not _is_subject(subject):
            raise Refused(Reason.BAD_JWT)
        return Identity(
            organization, scopes=self._scopes(claims), name=name_of(self._settings.jwt_issuer, subject),
            # PyJWT takes any whole number, and drops what follows the point.
            expires_at=min(int(expires), TIME_MAX_MS // 1000),
        )  # fmt: skip

    def _scopes(self, claims: dict[str, Any]) -> frozenset[Scope]:
        words: list[Any] = []
        for name in ("scope", "scp", "permissions"):
            given = claims.get(name)
            words += given.split() if isinstance(given, str) else given if isinstance(given, list) else []
        found = ALL.intersection(word for word in words if isinstance(word, str))
        return found if self._settings.jwt_admin else found - {Scope.ADMIN}


def _is_subject(given: Any) -> bool:
    """Whether it is a text that a name may hold. JSON may have half an emoji in it, for which there is no UTF-8."""
    return isinstance(given, str) and 1 <= len(given) <= SUBJECT_MAX and _HALF.search(given) is None


def _type(name: str) -> str:
    """A `typ` as it is compared (RFC 7515, 4.1.9)."""
    return name.lower().removeprefix("application/")


def _public_key(text: str) -> VerificationKey:
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingsInvalid("JWT_PUBLIC_KEY: expected a public key as PEM") from None
    bits = getattr(key, "key_size", RSA_BITS_MIN)
    if type(key).__name__.startswith("RSA") and bits < RSA_BITS_MIN:
        raise SettingsInvalid(f"JWT_PUBLIC_KEY: an RSA key needs {RSA_BITS_MIN} bits")
    return VerificationKey(key)
