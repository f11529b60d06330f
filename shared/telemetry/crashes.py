"""Uncaught errors as one log line like any other: the traceback without locals, and without secrets in its text."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any, Final

import structlog

_log: Final = structlog.get_logger(__name__)


def install() -> None:
    """Log errors that reach the interpreter, a thread's end or a finalizer, from now on."""
    sys.excepthook = _uncaught
    threading.excepthook = _in_thread
    sys.unraisablehook = _unraisable


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """Log errors that reach this event loop, without its own report, which shows the arguments of a task or a
    callback."""
    loop.set_exception_handler(_in_loop)


def _uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    _log.critical("unhandled_error", exc_info=(kind, error, trace))


def _in_thread(event: threading.ExceptHookArgs) -> None:
    if event.exc_value is not None and event.exc_type is not SystemExit:
        _log.error("unhandled_error", where="thread", exc_info=(event.exc_type, event.exc_value, event.exc_traceback))


def _unraisable(event: sys.UnraisableHookArgs) -> None:
    if event.exc_value is not None:
        where = (event.exc_type, event.exc_value, event.exc_traceback)
        _log.error("unhandled_error", where="finalizer", exc_info=where)


def _in_loop(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    # The message alone: the rest of the context are objects that show their arguments.
    _log.error("unhandled_error", where="event loop", reason=str(context.get("message", "")), exc_info=error or False)
