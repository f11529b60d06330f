"""Texts that we sign and read again: `<version>.<secret>.<content>.<signature>`.

The beginning of the secret's hash, the content as base64url, HMAC-SHA-256 over all before it. The version is signed
too: a text of one kind is none of another. Pure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

_SIGNED: Final = re.compile(r"([a-z][0-9])\.([0-9a-f]{8})\.([A-Za-z0-9_-]{1,1400})\.([A-Za-z0-9_-]{43})")


def secret_name(secret: str) -> str:
    """Name, in a text, of the secret that signed it."""
    return hashlib.sha256(b"name " + secret.encode()).hexdigest()[:8]


def sign(version: str, content: bytes, secret: str) -> str:
    """The content as a text for addresses and cookies."""
    start = f"{version}.{secret_name(secret)}.{encoded(content)}"
    return f"{start}.{signature(start, secret)}"


def named_secret(version: str, text: str) -> str | None:
    """The name of the secret that a text says it was signed with; None for a text that is none of this version."""
    found = _SIGNED.fullmatch(text)
    return found[2] if found and found[1] == version else None


def verify(version: str, text: str, secrets: Sequence[str]) -> bytes | None:
    """The content, if one of the secrets signed it."""
    if named_secret(version, text) is None:
        return None
    start, _, given = text.rpartition(".")
    for secret in secrets:
        if hmac.compare_digest(signature(start, secret), given):
            content = start.split(".")[2]
            try:
                return base64.urlsafe_b64decode(content + "=" * (-len(content) % 4))
            except ValueError:
                return None
    return None


def signature(text: str, secret: str) -> str:
    """The HMAC of a text."""
    return encoded(hmac.digest(secret.encode(), text.encode(), "sha256"))


def encoded(data: bytes) -> str:
    """Bytes as base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
