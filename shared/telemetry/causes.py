"""Tells an exception that nobody foresaw, as far as a log may know it."""

from __future__ import annotations

from pathlib import PurePath


def cause_of(error: BaseException) -> str:
    """Its type and the place that raised it. Never its text, which may hold a prompt or a key."""
    name = type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        name = f"{name}[{', '.join(sorted({type(one).__name__ for one in error.exceptions}))}]"
    trace = error.__traceback__
    if trace is None:
        return name
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f"{name} at {'/'.join(PurePath(code.co_filename).parts[-2:])}:{trace.tb_lineno}"
