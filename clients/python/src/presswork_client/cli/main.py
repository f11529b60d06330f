"""The command line put together: its commands, and from errors to exit statuses."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError, Parameter

from presswork_client.cli import jobs, keys, operators, organizations, redrive, submit, usage
from presswork_client.cli import run as running
from presswork_client.cli.exits import INTERRUPTED, OK, WRONG, of_error
from presswork_client.cli.output import note
from presswork_client.errors import PressworkError, Unauthorized
from presswork_client.version import VERSION

_HELP: Final = (
    "AI content jobs from the terminal. The address and the key come from PRESSWORK_URL and PRESSWORK_API_KEY, or from "
    "~/.config/presswork/config.toml (mode 0600)."
)
_BROKEN_PIPE: Final = 141
"""As shells have it for a program whose reader went away."""


def application() -> App:
    """All commands."""
    app = App(name="presswork", help=_HELP, version=VERSION, default_parameter=Parameter(show_default=False))
    for part in (running, submit, jobs, operators, organizations, redrive, keys, usage):
        part.add_to(app)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run a command; the exit status."""
    waits = logging.getLogger("presswork_client")
    waits.setLevel(logging.INFO)
    waits.addHandler(logging.StreamHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not every terminal can show every character
    words = [*arguments[1:], "--json"] if arguments[:1] == ["--json"] else list(arguments)

    try:
        status = application()(words, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        note(f"presswork: {error}")
        return WRONG
    except PressworkError as error:
        note(f"presswork: {error}{_advice(error)}")
        return of_error(error)
    except BrokenPipeError:
        # The interpreter writes to it once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    return OK if status is None else int(status)


def _advice(error: PressworkError) -> str:
    return " (set PRESSWORK_API_KEY)" if isinstance(error, Unauthorized) and error.status == 401 else ""
