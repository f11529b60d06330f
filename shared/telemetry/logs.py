"""Logs: one JSON object per line on stderr, pretty on a terminal. The standard library's loggers go the same way.

No log line carries a prompt, a result or a secret: callers don't pass them, and `drop_sensitive` drops them if one
does.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from shared.errors import SettingsInvalid

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
    """Remove what must not be logged; the names of removed keys stay, under `dropped`. Costs one set test per line."""
    if SENSITIVE.isdisjoint(event):
        return event
    found = sorted(SENSITIVE.intersection(event))
    for key in found:
        del event[key]
    event["dropped"] = found
    return event


def _to_json(event: EventDict, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def configure(service: str, level: str = "INFO") -> None:
    """Set up logging for this process, once; again replaces it. SettingsInvalid when `level` is not in `LEVELS`."""
    number = LEVELS.get(level.upper())
    if number is None:
        raise SettingsInvalid(f"LOG_LEVEL must be one of {', '.join(LEVELS)}")

    def name_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    on_terminal = sys.stderr.isatty()
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_service,
        drop_sensitive,
    ]
    ending: list[Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if on_terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_to_json)]
    )
    structlog.configure(
        processors=[*common, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    _route_standard_library(common, ending, number)


def _route_standard_library(common: list[Processor], ending: list[Processor], level: int) -> None:
    """Libraries (uvicorn, asyncio) log through the standard library; below WARNING they have nothing to tell us."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *common],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level if level == logging.DEBUG else max(level, logging.WARNING))
