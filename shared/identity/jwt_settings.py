"""Settings of JWTs, an alternative to keys."""

from __future__ import annotations

from typing import Annotated

import msgspec

from shared.errors import SettingsInvalid
from shared.http.health import MetricsSettings
from shared.setting_values import entries


class JwtSettings(MetricsSettings, frozen=True, kw_only=True):
    """The issuer whose JWTs are accepted, and for whom. Off without `jwt_issuer`.

    `jwt_issuer`, `jwt_audience`: what `iss` must be, and `aud` must hold. `jwt_jwks_url`: where the issuer's keys are;
    or `jwt_public_key`: one key, as PEM. `jwt_types`: accepted `typ` headers. `jwt_organization_claim`: the claim that
    names the organisation. `jwt_admin`: the scope `admin` of a JWT counts. `jwt_leeway_seconds`: skew of clocks.
    """

    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_jwks_url: str = ""
    jwt_public_key: str = ""
    jwt_types: str = "at+jwt,JWT"
    jwt_organization_claim: str = "org_id"
    jwt_admin: bool = False
    jwt_leeway_seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 30.0


def check_jwt(settings: JwtSettings) -> bool:
    """Whether JWTs are accepted. SettingsInvalid for settings that do not go together."""
    named = {
        "JWT_AUDIENCE": settings.jwt_audience, "JWT_JWKS_URL": settings.jwt_jwks_url,
        "JWT_PUBLIC_KEY": settings.jwt_public_key,
    }  # fmt: skip
    if not settings.jwt_issuer:
        if given := [name for name, value in named.items() if value]:
            raise SettingsInvalid(f"JWT_ISSUER is not set, but {given[0]} is")
        return False
    if not settings.jwt_audience:
        raise SettingsInvalid("JWT_AUDIENCE is not set: without it a token for another service would be accepted")
    if bool(settings.jwt_jwks_url) == bool(settings.jwt_public_key):
        raise SettingsInvalid("JWT_ISSUER: set either JWT_JWKS_URL or JWT_PUBLIC_KEY")
    if not entries(settings.jwt_types):
        raise SettingsInvalid("JWT_TYPES: expected one type or more, as in at+jwt,JWT")
    return True
