"""Sites whose pages may call a service: CORS_ALLOWED_ORIGINS and CORS_ALLOWED_HEADERS as every service reads them.

CORS itself forbids reading. A call that changes something is refused before it is handled: browsers send simple ones
without asking first.
"""

from __future__ import annotations

import re
from typing import Final

from shared.errors import SettingsInvalid
from shared.setting_values import entries

Headers = list[tuple[bytes, bytes]]

HEADERS: Final = (
    "accept", "accept-language", "authorization", "baggage", "cache-control", "content-language", "content-type",
    "idempotency-key", "last-event-id", "openai-organization", "openai-project", "pragma", "sentry-trace",
    "traceparent", "tracestate", "user-agent", "x-request-id", "x-requested-with", "x-stainless-arch",
    "x-stainless-helper-method", "x-stainless-lang", "x-stainless-os", "x-stainless-package-version",
    "x-stainless-retry-count", "x-stainless-runtime", "x-stainless-runtime-version", "x-stainless-timeout",
)  # fmt: skip
"""Allowed request headers: ours, and those that tracing (W3C, Sentry), `fetch` wrappers, EventSource polyfills and
OpenAI's SDK add by themselves."""

EXPOSED: Final = b"location, retry-after, ratelimit, ratelimit-policy, www-authenticate, allow, x-should-retry"
MAX_AGE: Final = b"7200"
"""Seconds for which a browser need not ask again; Chromium takes no more."""

_ORIGIN: Final = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s?#@]+")
_NAME: Final = re.compile(r"\*|[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}


def allowed_origins(text: str) -> list[str]:
    """The origins one by one, as browsers write them; SettingsInvalid for one that no browser would ever send.

    Separated by commas; `*` for all. A slash at the end is dropped and letters are made small: they never match.
    """
    origins = [origin.rstrip("/").lower() for origin in entries(text)]
    for origin in origins:
        if _ORIGIN.fullmatch(origin) is None:
            raise SettingsInvalid("CORS_ALLOWED_ORIGINS: expected origins as in https://app.example.com, or *")
    return origins


def allowed_headers(text: str) -> list[str]:
    """Request headers that pages may send: the usual ones and those of the setting. SettingsInvalid for no name."""
    names = [name.lower() for name in entries(text)]
    if not all(_NAME.fullmatch(name) for name in names):
        raise SettingsInvalid("CORS_ALLOWED_HEADERS: expected names of headers separated by commas, or *")
    return sorted({*HEADERS, *names})


class Cors:
    """Permissions of pages of other origins. No cookies: tokens alone identify a caller."""

    def __init__(self, origins: str, headers: str = "") -> None:
        """Read the settings. SettingsInvalid for an origin or a header that no browser sends."""
        found, names = allowed_origins(origins), allowed_headers(headers)
        self._all = "*" in found
        self._origins = {origin.encode() for origin in found}
        self._any_header = "*" in names
        self._headers = ", ".join(names).encode()
        self.varies: Headers = [(b"vary", b"Origin")] if found and not self._all else []
        """Sent with every response, so that no cache gives one origin's permission to another."""

    def allows(self, origin: bytes) -> bool:
        """Whether pages of this origin may call and read."""
        return self._all or origin in self._origins

    def simple(self, origin: bytes) -> Headers:
        """Headers of a response that a page of an allowed origin reads."""
        return [
            (b"access-control-allow-origin", b"*" if self._all else origin),
            (b"access-control-expose-headers", EXPOSED),
        ]

    def preflight(self, origin: bytes, wanted: bytes, *, private_network: bool) -> Headers:
        """Headers of the response to a browser that asks before it calls; `wanted`: the headers it would send.

        A page of the internet may call this machine or network only if its origin was named: `*` does not allow that.
        """
        granted: Headers = [
            (b"access-control-allow-origin", b"*" if self._all else origin),
            (b"access-control-allow-methods", b"GET, HEAD, POST, PATCH, DELETE"),
            (b"access-control-allow-headers", wanted if self._any_header and wanted else self._headers),
            (b"access-control-max-age", MAX_AGE),
            (b"vary", b"Access-Control-Request-Headers, Access-Control-Request-Private-Network"),
        ]
        if private_network and origin in self._origins:
            granted.append((b"access-control-allow-private-network", b"true"))
        return granted


def is_foreign(origin: list[bytes], site: list[bytes], hosts: list[bytes]) -> bool:
    """Whether a page of another origin makes a request, as far as the request shows.

    `origin`, `site` and `hosts`: its headers `Origin`, `Sec-Fetch-Site`, and `Host` with `X-Forwarded-Host`. The
    first two come from browsers alone. `Sec-Fetch-Site` is of the browser itself, and holds behind proxies that change
    the host; no page can set any of the four without a preflight.
    """
    if site:
        return site not in ([b"same-origin"], [b"none"])
    if not origin:
        return False
    scheme, _, authority = origin[0].lower().partition(b"://")
    port = _DEFAULT_PORTS.get(scheme, b"-")
    names = {host.partition(b",")[0].strip().lower().removesuffix(port) for host in hosts}
    return len(origin) > 1 or not authority or authority.removesuffix(port) not in names
