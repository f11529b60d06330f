"""Counts characters as the platforms do."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

URL_WEIGHT: Final = 23
"""Characters that X counts for any URL: the length of its own short one (`transformedURLLength`)."""

COMPOSED_AT_ONCE: Final = 1024
"""Characters that are composed at once: more than a post may have that keeps X's limit, but for its URLs."""

_HEAVY: Final = re.compile("[^\u0000-\u10ff\u2000-\u200d\u2010-\u201f\u2032-\u2037]")
"""Code points of weight 2; those in the ranges have weight 1. From twitter-text, config/v3.json."""

# X links addresses with a scheme, and bare domains of a real top-level domain: here, those that marketing uses. A URL
# ends at a space, a quote, or a character of a script that sets no spaces.
_TAIL: Final = r"[^\s<>\"\u00a0\u2000-\u206f\u3000-\u9fff\uac00-\ud7af\uff00-\uffef]"
_URL: Final = re.compile(
    rf"https?://(?:(?![/?#.]){_TAIL})+(?:\.(?:(?![/?#.]){_TAIL})+)+{_TAIL}*"
    r"|(?<![\w@#$./-])(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}"
    r"(?:com|org|net|edu|gov|info|biz|io|ai|app|dev|shop|store|online|co|tv|me|eu|uk|de|fr|es|it|nl|at|ch|jp|cn|in|br|us)"
    rf"(?![\w@-]|\.\w)(?:[/?#]{_TAIL}*)?",
    re.IGNORECASE | re.ASCII,
)
_CLOSING: Final = ".,;:!?'\")]}…"

_PICTURE: Final = (
    "[\u203c\u2049\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u25fe\u2600-\u27bf\u2934\u2935\u2b05-\u2b55\u3030"
    "\u303d\u3297\u3299\U0001f000-\U0001f1e5\U0001f200-\U0001faff]"
)
_MARKS: Final = "\ufe0f?[\U0001f3fb-\U0001f3ff]?[\U000e0020-\U000e007f]*"
_EMOJI: Final = re.compile(
    f"[\U0001f1e6-\U0001f1ff]{{2}}|[0-9#*]\ufe0f?\u20e3|[\u00a9\u00ae\u2122]\ufe0f"
    f"|{_PICTURE}{_MARKS}(?:\u200d{_PICTURE}{_MARKS})*"
)
"""One emoji, of however many code points: flags, keycaps, and pictures joined to one."""


def code_points(text: str) -> int:
    """Unicode code points."""
    return len(text)


def utf16_units(text: str) -> int:
    """UTF-16 code units: the characters of JavaScript and of most platforms' own editors."""
    if text.isascii():
        return len(text)
    # A search for characters beyond the basic plane would take five times as long. A lone surrogate is one unit too.
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def display_width(text: str) -> int:
    """Code points, the double-width ones of East Asian scripts twice (Unicode Standard Annex 11)."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _composed(text: str) -> str:
    """Normalise to NFC, as far as a mark and its letter lie in one piece: a run of thousands of marks, which are sorted
    one by one, would take seconds."""
    pieces = (text[start : start + COMPOSED_AT_ONCE] for start in range(0, len(text), COMPOSED_AT_ONCE))
    return "".join(unicodedata.normalize("NFC", piece) for piece in pieces)


def x_weight(text: str) -> int:
    """Characters by X's weights: 23 for a URL, 2 for an emoji and for most characters that are not alphabetic, else 1.

    After NFC, as docs.x.com/fundamentals/counting-characters has it. A bare domain counts as a URL when its top-level
    domain is a usual one; X knows all of them.
    """
    urls = 0

    def shorten(found: re.Match[str]) -> str:
        nonlocal urls
        urls += 1
        return found.group()[len(found.group().rstrip(_CLOSING)) :]

    rest = _URL.sub(shorten, _composed(text))
    rest, emoji = _EMOJI.subn("", rest)
    return urls * URL_WEIGHT + emoji * 2 + len(rest) + len(_HEAVY.findall(rest))
