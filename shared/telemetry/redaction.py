"""Takes secrets out of text that others wrote: messages of exceptions, of libraries and of the interpreter. Pure."""

from __future__ import annotations

import re
from typing import Final

_URL: Final = re.compile(r"://[^\s\"'<>]{1,512}@")
_NAMED: Final = re.compile(
    r"(?i)\b((?:x-)?api[-_]?key|authorization|password|passwd|secret|sentinel_password)(\\?[\"']?\s{0,4}[:=]\s{0,4}\\?[\"']?)"
    r"(?:(?:bearer|basic)\s+)?[^\s\"',}\\]{1,512}"
)
_SCHEME: Final = re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{6,}")
_KEY: Final = re.compile(r"\bsk-[A-Za-z0-9_-]{6,}")
"""As OpenAI, Anthropic and many others begin their keys. Every repetition is bounded: the time grows with the text."""


def redacted(text: str) -> str:
    """The text without passwords in URLs, bearer tokens and keys of providers."""
    if "://" in text and "@" in text:
        text = _URL.sub("://***@", text)
    text = _NAMED.sub(r"\1\2***", text)
    return _KEY.sub("sk-***", _SCHEME.sub(r"\1 ***", text))
