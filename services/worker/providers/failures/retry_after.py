"""Reads the retry-after of a provider, in each of its forms. Pure.

Sources: RFC 9110 (Retry-After); OpenAI "Rate limits" (`x-ratelimit-reset-*: 6m0s`, `retry-after-ms`, "Please try again
in 20s"); Google `google.rpc.RetryInfo` (`retryDelay: "34.07s"`); Groq "Rate limits" (`2m59.56s`); OpenRouter "Limits"
(`X-RateLimit-Reset` in ms since 1970); Anthropic "Rate limits" (`anthropic-ratelimit-*-reset`, RFC 3339).
"""

from __future__ import annotations

import email.utils
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

MESSAGE_CHARACTERS: Final = 2_000
"""Characters of a message that are searched for a time to wait."""

RETRY_AFTER_CHARACTERS: Final = 64
"""Characters of one time; a longer text is none."""

_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_PIECE: Final = r"(\d{1,9}(?:\.\d{1,9})?) ?(milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h|days?|d) ?"
_ONE: Final = re.compile(_PIECE, re.IGNORECASE)
_DURATION: Final = re.compile(f"(?:{_PIECE}){{1,6}}", re.IGNORECASE)
_IN_A_MESSAGE: Final = re.compile(
    rf"(?:try again|retry|retrying|wait)[^\d\n]{{0,24}}?((?:{_PIECE}){{1,6}})(?![a-z])", re.IGNORECASE
)
_EPOCH_S: Final = 1e9
_EPOCH_MS: Final = 1e11
_RESETS: Final = re.compile(r"(?:x-|anthropic-)?ratelimit-(?:[a-z-]{1,40}-)?reset(?:-[a-z-]{1,40})?\Z")


def seconds_in(text: str | None, date: str | None, *, moments: bool = False) -> float | None:
    """A time to wait in s: a number of seconds, a duration (`1m3.5s`) or a date. None when it is none of these.

    `date`: the moment of the answer, from which dates count. `moments`: a large number is one, in s or ms since 1970.
    """
    if text is None or len(text) > RETRY_AFTER_CHARACTERS:
        return None
    try:
        number = float(text)
    except ValueError:
        return _duration(text) if _DURATION.fullmatch(text.strip()) else _until(_moment(text), date)
    if not math.isfinite(number):
        return None
    if number < _EPOCH_S or not moments:
        return number
    return _until(_since_1970(number / 1000 if number >= _EPOCH_MS else number), date)


def seconds_in_message(message: object) -> str | None:
    """The time to wait that a message names ("Please try again in 20s"), as `seconds_in` reads it."""
    found = _IN_A_MESSAGE.search(message[:MESSAGE_CHARACTERS]) if isinstance(message, str) else None
    return found.group(1)[:RETRY_AFTER_CHARACTERS] if found else None


def reset_in(headers: Mapping[str, str], date: str | None) -> str | None:
    """Time at which all used-up limits are reset, from the latest of their headers; None when no header says so."""
    waits = []
    for name, value in headers.items():
        matched = _RESETS.match(name.lower())
        if matched is None or _left(headers, name.lower()) or (wait := seconds_in(value, date, moments=True)) is None:
            continue
        waits.append(wait)
    return f"{max(waits):g}" if waits else None


def _left(headers: Mapping[str, str], name: str) -> bool:
    """Whether something is left of the limit whose reset is in this header."""
    left = headers.get(name.replace("reset", "remaining"))
    try:
        return left is not None and float(left) > 0
    except ValueError:
        return False


def _duration(text: str) -> float:
    return sum(float(number) * _unit(unit.lower()) for number, unit in _ONE.findall(text))


def _unit(name: str) -> float:
    return _UNITS_S["ms" if name.startswith(("ms", "milli")) else name[0]]


def _until(moment: datetime | None, date: str | None) -> float | None:
    now = _moment(date)
    return (moment - now).total_seconds() if moment and now else None


def _since_1970(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _moment(text: str | None) -> datetime | None:
    for read in (email.utils.parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read((text or "").strip())
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None
