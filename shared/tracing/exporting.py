"""Spans that are exported to a collector, as OTLP over HTTP: the one file that knows OpenTelemetry.

A thread of the SDK sends them. Its queue is bounded: a collector that is slow or down costs spans, and nothing else. No
provider of tracers is registered for the whole process, so libraries that trace themselves, and may put a prompt into
their spans, find none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import anyio
import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link as SdkLink
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, set_span_in_context
from opentelemetry.trace import Span as SdkSpan
from opentelemetry.util.re import parse_env_headers

from shared.tracing import conventions
from shared.tracing.settings import TracingSettings
from shared.tracing.spans import Attributes, Kind, Link, Span
from shared.tracing.traceparents import valid
from shared.version import VERSION

FLUSH_SECONDS: Final = 0.5
"""Longest time that the end of a process waits for a collector, in s: a worker's drain leaves little more of the 10 s
after which platforms kill."""

_KINDS: Final = {Kind.PRODUCER: SpanKind.PRODUCER, Kind.CONSUMER: SpanKind.CONSUMER, Kind.CLIENT: SpanKind.CLIENT}


class _Ids(RandomIdGenerator):
    """Random ids, except for a span whose context is known before it begins. Used by one thread, one span at a time."""

    def __init__(self) -> None:
        self.own: SpanContext | None = None

    def generate_trace_id(self) -> int:
        return super().generate_trace_id() if self.own is None else self.own.trace_id

    def generate_span_id(self) -> int:
        return super().generate_span_id() if self.own is None else self.own.span_id


class _Exporter(SpanExporter):
    """Sends spans, and logs when that begins to fail and when it works again. Runs in the SDK's thread."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = 0
        self._log = structlog.get_logger(__name__).bind()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        with contextlib.suppress(Exception):
            result = self._exporter.export(spans)

        if result is SpanExportResult.SUCCESS and self._lost:
            self._log.info("span_export_resumed", lost=self._lost)
            self._lost = 0
        elif result is not SpanExportResult.SUCCESS:
            if not self._lost:
                self._log.warning("span_export_failed", spans=len(spans))
            self._lost += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _ExportedSpan:
    __slots__ = ("_ended", "_span")

    def __init__(self, span: SdkSpan) -> None:
        self._span = span
        self._ended = False

    @property
    def traceparent(self) -> str | None:
        context = self._span.get_span_context()
        if not context.is_valid:  # OTEL_SDK_DISABLED
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"

    def set(self, attributes: Attributes) -> None:
        if not self._ended:
            self._span.set_attributes(attributes)

    def end(self, error: str | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        if error is not None:
            self._span.set_attribute(conventions.ERROR_TYPE, error)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(None if kind is None else kind.__name__)


class ExportingTracer:
    """The tracer of one process. Sampling, the names of the service and the bounds of the queue are set by the SDK's
    own variables (OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_…)."""

    def __init__(self, settings: TracingSettings, service: str) -> None:
        # It would log each failed try, and a malformed header, which may be a secret.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        headers = parse_env_headers(settings.otel_exporter_otlp_headers, liberal=True)
        exporter = OTLPSpanExporter(endpoint=settings.url, headers=headers or None)
        self._processor = BatchSpanProcessor(_Exporter(exporter))
        self._ids = _Ids()
        provider = TracerProvider(resource=_resource(service), id_generator=self._ids, shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("presswork", VERSION, schema_url=conventions.SCHEMA_URL)

    def begin(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        *,
        parent: str | None = None,
        own: str | None = None,
        links: Sequence[Link] = (),
    ) -> Span:
        linked = [SdkLink(context, link.attributes) for link in links if (context := _context(link.traceparent))]
        self._ids.own = _context(own)
        span = self._tracer.start_span(
            name, _within(parent), _KINDS[kind], attributes, linked, record_exception=False,
            set_status_on_exception=False,
        )  # fmt: skip
        self._ids.own = None
        return _ExportedSpan(span)

    async def aclose(self) -> None:
        """Send the spans that are left, for `FLUSH_SECONDS` at most; the loop goes on meanwhile."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK gives it no type
            with contextlib.suppress(RuntimeError):  # the loop has not waited
                loop.call_soon_threadsafe(done.set)

        # The interpreter's end waits for no daemon.
        threading.Thread(target=shut_down, name="spans", daemon=True).start()
        with anyio.move_on_after(FLUSH_SECONDS):
            await done.wait()


def _context(traceparent: str | None) -> SpanContext | None:
    text = valid(traceparent)
    if text is None:
        return None
    _, trace, span, flags = text.split("-")
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16) & 1))


def _within(parent: str | None) -> Context:
    """A context of nothing but the parent: what a library may have left in the task's own is not ours."""
    found = _context(parent)
    return Context() if found is None else set_span_in_context(NonRecordingSpan(found), Context())


def _resource(service: str) -> Resource:
    own = Resource(
        {
            "service.name": f"presswork-{service}",
            "service.version": VERSION,
            "service.instance.id": secrets.token_hex(8),
        }
    )
    return own.merge(OTELResourceDetector().detect())
