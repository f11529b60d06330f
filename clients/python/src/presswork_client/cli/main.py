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
from presswork_client.cli.exits import FAILED, INTERRUPTED, OK, WRONG, of_error
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
    _occupy_closed_streams()
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
    except UnicodeError:
        note("presswork: an argument or the input is no UTF-8: convert it first, as with iconv -t UTF-8")
        return WRONG
    except OSError as error:
        return _stream_lost(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return OK if status is None else int(status)


def _occupy_closed_streams() -> None:
    """Give every standard stream that the caller closed a place: nothing else then gets its descriptor."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for the process's life


def _stream_lost(error: OSError) -> int:
    """Say why a standard stream failed, unless its reader went away, as `head` does; the exit status."""
    # The interpreter writes to it once more when it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return _BROKEN_PIPE
    note(f"presswork: {error.strerror or error}")
    return FAILED


def _advice(error: PressworkError) -> str:
    return " (set PRESSWORK_API_KEY)" if isinstance(error, Unauthorized) and error.status == 401 else ""
