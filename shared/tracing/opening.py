"""Opening of a process's tracer: OpenTelemetry is imported only where an endpoint is set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from shared.tracing.settings import TracingSettings
from shared.tracing.spans import Tracer


@asynccontextmanager
async def open_tracer(settings: TracingSettings, service: str) -> AsyncIterator[Tracer | None]:
    """The tracer of this process, for the length of the block, whose end sends what is left for a bounded time; None:
    tracing is off."""
    if not settings.otel_exporter_otlp_endpoint:
        yield None
        return
    try:
        from shared.tracing.exporting import ExportingTracer  # noqa: PLC0415 - an extra, and only who traces pays for it
    except ImportError as error:
        structlog.get_logger(__name__).warning("tracing_not_installed", missing=error.name, advice=ADVICE)
        yield None
        return

    tracer = ExportingTracer(settings, service)
    try:
        yield tracer
    finally:
        await tracer.aclose()


ADVICE = (
    "OTEL_EXPORTER_OTLP_ENDPOINT is set, and nothing is traced: `pip install --require-hashes -r "
    "requirements/tracing.txt`, or build the image with `--build-arg TRACING=1`"
)
