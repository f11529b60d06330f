"""The key set of an identity provider (RFC 7517): fetched in a thread, never on the event loop, and kept.

The last good set survives an outage of the provider. A key that is not known makes a process ask, at most once in 10 s.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
import structlog

from shared.errors import IdentityUnavailable, SettingsInvalid
from shared.http.access import is_loopback

FRESH_S: Final = 600.0
"""Age of a set from which on it is fetched again, beside the requests."""

UNKNOWN_S: Final = 10.0
FETCH_S: Final = 5.0
BYTES_MAX: Final = 512 * 1024
KEYS_MAX: Final = 100
RSA_BITS_MIN: Final = 2048

_log: Final = structlog.get_logger(__name__)


class VerificationKey:
    """A public key. `algorithm`: the only one it may be used with, None: each of its kind."""

    def __init__(self, key: Any, algorithm: str | None = None) -> None:
        self.key = key
        self.algorithm = algorithm


def check_url(url: str) -> None:
    """SettingsInvalid for an address whose answer others could change."""
    parts = urlsplit(url)
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))):
        raise SettingsInvalid("JWT_JWKS_URL: expected an https:// address")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A provider's address is a setting: nobody else chooses another one."""

    def redirect_request(self, *_: Any) -> None:
        return None


def fetch(url: str) -> bytes:
    """The document at an address; OSError or ValueError. Blocks."""
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "presswork"})  # noqa: S310 - see `check_url`
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=FETCH_S) as answer:
        body: bytes = answer.read(BYTES_MAX + 1)
    if len(body) > BYTES_MAX:
        raise ValueError("the key set is too large")
    return body


def read_keys(document: bytes) -> dict[str, VerificationKey]:
    """The keys of a set that verify signatures, by their ids; ValueError when it is none. A key without an id is called
    by its place."""
    held = json.loads(document)
    keys = held.get("keys") if isinstance(held, dict) else None
    if not isinstance(keys, list):
        raise ValueError("no key set")  # noqa: TRY004 - of a document, not of an argument
    found = {}
    for i, described in enumerate(keys[:KEYS_MAX]):
        if (key := _key(described)) is not None:
            kid = described.get("kid")
            found[kid if isinstance(kid, str) else f"\0{i}"] = key
    return found


def _verifies(described: dict[str, Any]) -> bool:
    """Whether a key is meant for signatures, and not symmetric."""
    of_kind = described.get("kty") in ("RSA", "EC", "OKP")
    return of_kind and described.get("use", "sig") == "sig" and "verify" in described.get("key_ops", ["verify"])


def _key(described: Any) -> VerificationKey | None:
    """None for a key that is not for signatures, is symmetric, too short or of an unknown kind."""
    if not isinstance(described, dict) or not _verifies(described):
        return None
    public = {name: value for name, value in described.items() if name not in ("d", "p", "q", "dp", "dq", "qi", "oth")}
    try:
        key = jwt.PyJWK(public)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if getattr(key.key, "key_size", RSA_BITS_MIN) < RSA_BITS_MIN and described["kty"] == "RSA":
        return None
    algorithm = described.get("alg")
    return VerificationKey(key.key, algorithm if isinstance(algorithm, str) else None)


class KeySet:
    """Of one issuer."""

    def __init__(
        self,
        url: str,
        *,
        fetched: Callable[[str], bytes] = fetch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._fetched = fetched
        self._clock = clock
        self._keys: Mapping[str, VerificationKey] | None = None
        self._read_at = self._tried_at = -FRESH_S
        self._fetching: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """Fetch no more."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    async def find(self, kid: str | None) -> VerificationKey | None:
        """The key of that id; without one, the only key. IdentityUnavailable: there is no set yet."""
        if self._keys is None or (_choose(self._keys, kid) is None and self._clock() - self._tried_at >= UNKNOWN_S):
            await self._refresh()
        elif self._clock() - self._read_at >= FRESH_S and self._clock() - self._tried_at >= UNKNOWN_S:
            self._begin()
        if self._keys is None:
            raise IdentityUnavailable("the key set of JWT_JWKS_URL cannot be fetched")
        return _choose(self._keys, kid)

    async def _refresh(self) -> None:
        if self._fetching is None and self._clock() - self._tried_at < 1.0:
            return  # without any set requests do not wait for the provider one after the other
        await asyncio.wait([self._begin()])

    def _begin(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._tried_at = self._clock()
            self._fetching = asyncio.create_task(self._fetch(), name="jwks")
        return self._fetching

    async def _fetch(self) -> None:
        try:
            self._keys = read_keys(await asyncio.to_thread(self._fetched, self._url))
            self._read_at = self._clock()
        except (OSError, ValueError, urllib.error.URLError) as error:
            _log.warning("jwks_fetch_failed", reason=type(error).__name__, known=self._keys is not None)
        finally:
            self._fetching = None


def _choose(keys: Mapping[str, VerificationKey], kid: str | None) -> VerificationKey | None:
    if kid is not None:
        return keys.get(kid)
    return next(iter(keys.values())) if len(keys) == 1 else None


def fixed_keys(keys: Iterable[VerificationKey]) -> Mapping[str, VerificationKey]:
    """A set that is a setting."""
    return {f"\0{i}": key for i, key in enumerate(keys)}
