"""Takes secrets out of text that others wrote: messages of exceptions, of libraries and of the interpreter. Pure."""

from __future__ import annotations

import re
from typing import Final

_URL_END: Final = re.compile(r"[\s\"'<>]")
_NAMED: Final = re.compile(
    r"(?i)\b((?:x-)?api[-_]?key|authorization|password|passwd|secret|sentinel_password)(\\?[\"']?\s{0,4}[:=]\s{0,4}\\?[\"']?)"
    r"(?:(?:bearer|basic)\s+)?[^\s\"',}\\]{1,512}"
)
_SCHEME: Final = re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{6,}")
_KEY: Final = re.compile(r"\bsk-[A-Za-z0-9_-]{6,}")
"""Keys as OpenAI, Anthropic and many others begin them. Every repetition is bounded: the time grows with the text."""


_OURS: Final = re.compile(
    r"\b(?:pw_[0-9a-z]{12}_[0-9A-Za-z]{1,64}|v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]{1,2000}\.[A-Za-z0-9_-]{1,64})"
)
"""API keys and event tickets of ours (`shared/identity`)."""


def redacted(text: str) -> str:
    """The text without passwords in URLs, bearer tokens, keys of providers, and keys and tickets of ours."""
    if "://" in text and "@" in text:
        text = _without_users(text)
    text = _NAMED.sub(r"\1\2***", text)
    return _OURS.sub("***", _KEY.sub("sk-***", _SCHEME.sub(r"\1 ***", text)))


def _without_users(text: str) -> str:
    """The text with user and password taken out of every URL, up to its last @: a password may hold one too."""
    parts, at = [], 0
    while (start := text.find("://", at)) >= 0:
        found = _URL_END.search(text, start)
        end = found.start() if found else len(text)
        user = text.rfind("@", start, end)
        parts += [text[at : start + 3], "***" if user >= 0 else "", text[user if user >= 0 else start + 3 : end]]
        at = end
    return "".join([*parts, text[at:]])
