"""Logs unforeseen exceptions, without texts that may hold secrets."""

from __future__ import annotations

import time
from pathlib import Path, PurePath
from traceback import walk_tb
from typing import Final

import structlog

_OURS: Final = str(Path(__file__).parents[2])
CALM_S: Final = 60.0
_log: Final = structlog.get_logger(__name__)


def cause_of(error: BaseException) -> str:
    """The error's type and its place in our code. Never its text, which may hold a prompt or a key."""
    name = type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        name = f"{name}[{', '.join(sorted({type(one).__name__ for one in error.exceptions}))}]"
    places = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    if not places:
        return name
    path, line = next((place for place in reversed(places) if place[0].startswith(_OURS)), places[-1])
    return f"{name} at {'/'.join(PurePath(path).parts[-2:])}:{line}"


class FailureLog:
    """Log of one background task that goes on after it raised: a line for each failure, but only one a minute while the
    same comes again and again."""

    def __init__(self, event: str, **more: object) -> None:
        self._event = event
        self._more = more
        self._last = ("", 0.0)

    def failed(self, error: BaseException) -> None:
        """Note that the task failed, and goes on."""
        cause, now = cause_of(error), time.monotonic()
        known, at = self._last
        self._last = (cause, now)
        if cause != known or now - at > CALM_S:
            _log.error(self._event, cause=cause, **self._more)
