"""Which sites' pages may call a service: CORS_ALLOWED_ORIGINS as every service reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from litestar.config.cors import CORSConfig

from shared.errors import SettingsInvalid
from shared.settings import entries

_ORIGIN: Final = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s?#@]+")


def allowed_origins(text: str) -> list[str]:
    """The origins one by one, as browsers write them; SettingsInvalid for what no browser would ever send.

    Separated by commas; `*` for all. A slash at the end is dropped and letters are made small: they never match.
    """
    origins = [origin.rstrip("/").lower() for origin in entries(text)]
    for origin in origins:
        if _ORIGIN.fullmatch(origin) is None:
            raise SettingsInvalid("CORS_ALLOWED_ORIGINS: expected origins as in https://app.example.com, or *")
    return origins


def cors(
    text: str, *, methods: Sequence[Literal["GET", "POST"]], headers: Sequence[str], expose: Sequence[str] = ()
) -> CORSConfig | None:
    """Litestar's configuration for these origins; None: no other site is let in."""
    origins = allowed_origins(text)
    if not origins:
        return None
    return CORSConfig(
        allow_origins=origins,
        allow_methods=list(methods),
        allow_headers=list(headers),
        expose_headers=list(expose),
        max_age=600,
    )
