"""Logs: one JSON object per line on stderr, pretty on a terminal. The standard library's loggers go the same way.

No log line carries a prompt, a result or a secret: callers don't pass them, and `drop_sensitive` drops them if one
does. A traceback shows no locals, on a terminal neither. A line that cannot be made or written costs that line alone.
"""

from __future__ import annotations

import atexit
import json
import logging
import sys
import traceback
from typing import Any, Final, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from shared.errors import SettingsInvalid
from shared.telemetry import crashes
from shared.telemetry.log_sink import DROPPED, Sink

LEVELS: Final = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}

SENSITIVE: Final = frozenset(
    {
        "prompt", "result", "text", "delta", "body", "data", "payload", "parameters", "metadata", "headers", "cookie",
        "authorization", "token", "tokens", "api_key", "api_keys", "apikey", "api_token", "api_tokens", "password",
        "secret", "credentials", "redis_url", "url_with_password", "openai_api_key", "anthropic_api_key",
    }
)  # fmt: skip
"""Keys that never reach a log line, whatever their value."""


def drop_sensitive(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Remove values that must not be logged; the names of removed keys stay, under `dropped`. Costs one set test per
    line."""
    if SENSITIVE.isdisjoint(event):
        return event
    found = sorted(SENSITIVE.intersection(event))
    for key in found:
        del event[key]
    event["dropped"] = found
    return event


TRACEBACK_MAX: Final = 16_384
"""Characters of a traceback; of a longer one the middle is left out."""


def _to_json(event: EventDict, **_: Any) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except Exception:  # half an emoji, a circle, a `repr` that fails: the line must not cost its writer anything
        return json.dumps({str(key): _shown(value) for key, value in event.items()})


def _shown(value: object) -> str:
    try:
        return value if isinstance(value, str) else repr(value)
    except Exception:
        return "(cannot be shown)"


def _on_terminal(renderer: structlog.dev.ConsoleRenderer) -> Processor:
    """The renderer, which falls back to a plainer line when it fails."""

    def render(logger: WrappedLogger, name: str, event: EventDict) -> str:
        plain = _to_json(event) if "exc_info" not in event else ""
        try:
            return str(renderer(logger, name, event))
        except Exception:
            return plain or "a line that cannot be shown"

    return render


def _trace(exc_info: ExcInfo) -> str:
    """A traceback without locals, of bounded length."""
    text = "".join(traceback.format_exception(*exc_info)).rstrip("\n")
    if len(text) <= TRACEBACK_MAX:
        return text
    return f"{text[: TRACEBACK_MAX // 4]}\n…\n{text[-3 * TRACEBACK_MAX // 4 :]}"


def _print_trace(out: TextIO, exc_info: ExcInfo) -> None:
    out.write("\n" + _trace(exc_info))


def _report_lost(lines: int) -> None:
    structlog.get_logger(__name__).warning("log_lines_dropped", lines=lines)


def configure(service: str, level: str = "INFO") -> None:
    """Set up logging for this process, once; again replaces it. SettingsInvalid when `level` is not in `LEVELS`.

    Uncaught errors are logged too, see `crashes.py`.
    """
    number = LEVELS.get(level.upper())
    if number is None:
        raise SettingsInvalid(f"LOG_LEVEL must be one of {', '.join(LEVELS)}")

    def name_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    sink = Sink(sys.stderr, on_recovered=_report_lost)
    atexit.register(sink.drain)
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_service,
        drop_sensitive,
    ]
    ending: list[Processor] = (
        [_on_terminal(structlog.dev.ConsoleRenderer(exception_formatter=_print_trace))]
        if _is_terminal(sys.stderr)
        else [structlog.processors.ExceptionRenderer(_trace), structlog.processors.JSONRenderer(serializer=_to_json)]
    )
    structlog.configure(
        processors=[*common, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sink),  # type: ignore[arg-type]  # it writes and flushes
        cache_logger_on_first_use=False,
    )
    _route_standard_library(sink, common, ending, number)
    crashes.install()


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


class _Handler(logging.Handler):
    """Writes to the sink. The standard library's own would print a line it cannot format, arguments and all."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; one that cannot be made is counted as lost."""
        try:
            line = self.format(record)
        except Exception:
            DROPPED.inc()
        else:
            self._sink.write(f"{line}\n")


def _route_standard_library(sink: Sink, common: list[Processor], ending: list[Processor], level: int) -> None:
    """Route libraries (uvicorn, asyncio) that log through the standard library; their lines below WARNING are
    dropped."""
    handler = _Handler(sink)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *common],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level if level == logging.DEBUG else max(level, logging.WARNING))
