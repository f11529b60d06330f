"""Exit statuses of the command line."""

from __future__ import annotations

from typing import Final

from presswork_client.errors import ConfigError, JobCancelled, PressworkError, Unavailable, Unreachable

OK: Final = 0
FAILED: Final = 1
"""The job failed, or the service refused the call."""
WRONG: Final = 2
"""A wrong argument or setting."""
CANCELLED: Final = 3
"""The job was cancelled."""
UNREACHABLE: Final = 4
"""The service did not answer, or cannot take the call now."""
INTERRUPTED: Final = 130
"""Ctrl-C, as shells have it."""

OF_STATUS: Final = {"completed": OK, "failed": FAILED, "cancelled": CANCELLED}


class WrongArgument(ConfigError):
    """An argument of a command is wrong; the message says what to give."""


def of_error(error: PressworkError) -> int:
    """The exit status for an error."""
    if isinstance(error, ConfigError):
        return WRONG
    if isinstance(error, JobCancelled):
        return CANCELLED
    return UNREACHABLE if isinstance(error, (Unreachable, Unavailable)) else FAILED
