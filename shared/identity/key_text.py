"""The text of an API key: `pw_<id>_<secret><checksum>`. Pure.

The id is public, the secret has 190 random bits, and the checksum separates typing errors and look-alikes from guesses
before anything is asked of Redis. A key is stored as its SHA-256 alone.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from typing import Final

import msgspec

START: Final = "pw_"

PATTERN: Final = r"pw_[0-9a-z]{12}_[0-9A-Za-z]{38}"
"""Every key, and hardly anything else: for secret scanners."""

_KEY: Final = re.compile(PATTERN)
_ID_LETTERS: Final = string.digits + string.ascii_lowercase
_LETTERS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_LENGTH: Final = 12
_SECRET_LENGTH: Final = 32
_CHECKSUM_LENGTH: Final = 6
KEY_ID: Final = re.compile(r"[0-9a-z]{12}\Z")


class NewKeyText(msgspec.Struct, frozen=True):
    """A key as it is shown once. `digest` is kept."""

    id: str
    text: str
    digest: str


def new_key() -> NewKeyText:
    """A random key."""
    key_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
    secret = "".join(secrets.choice(_LETTERS) for _ in range(_SECRET_LENGTH))
    start = f"{START}{key_id}_{secret}"
    text = start + _checksum(start)
    return NewKeyText(key_id, text, digest_of(text))


def digest_of(text: str) -> str:
    """SHA-256 of a key, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def id_of(text: str) -> str | None:
    """The id of a key; None for a text that is none."""
    return text[len(START) : len(START) + _ID_LENGTH] if _KEY.fullmatch(text) else None


def is_mistyped(text: str) -> bool:
    """Whether the checksum of a text that looks like a key is wrong."""
    return not hmac.compare_digest(_checksum(text[:-_CHECKSUM_LENGTH]), text[-_CHECKSUM_LENGTH:])


def _checksum(start: str) -> str:
    number, letters = zlib.crc32(start.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_LETTERS))
        letters = _LETTERS[digit] + letters
    return letters
