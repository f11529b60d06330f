"""Settings of every service that asks who calls."""

from __future__ import annotations

from shared.identity.jwt_settings import JwtSettings
from shared.settings import PositiveSeconds


class IdentitySettings(JwtSettings, frozen=True, kw_only=True):
    """Callers that are served.

    `api_tokens`: hashes of tokens, one per line. `api_keys`: every caller needs a key, also where API_TOKENS is empty.
    `allow_anonymous`: without API_TOKENS and API_KEYS, callers of other machines need none.
    `trusted_proxies`: addresses and networks, separated by commas, whose `X-Forwarded-For` is believed.
    `ticket_secret`: signs event tickets; empty: the gateway keeps one in Redis. `ticket_seconds`: how long a ticket
    outlives its job's deadline.
    """

    api_tokens: str = ""
    api_keys: bool = False
    allow_anonymous: bool = False
    trusted_proxies: str = ""
    ticket_secret: str = ""
    ticket_seconds: PositiveSeconds = 3600.0
