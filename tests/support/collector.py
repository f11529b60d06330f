"""A collector of traces: takes OTLP over HTTP on loopback and decodes it with OpenTelemetry's own messages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.worker import until


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A span as it arrived; ids in hexadecimal digits, `parent` empty at the root. `links`: span ids with attributes.
    `schema`: URL of the conventions of its names."""

    name: str
    kind: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, Any]
    links: dict[str, dict[str, Any]]
    failed: bool
    service: str
    schema: str


class Collector:
    """`url`: its endpoint. `bodies`: of all requests, as bytes; `headers` of the last one. While it does not `answer`
    requests hang; else they get
    `status`. `refused`: how many did not get 200."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self.headers: dict[str, str] = {}
        self.status = 200
        self.refused = 0
        self.answer = threading.Event()
        self.answer.set()

    @property
    def spans(self) -> list[Seen]:
        """All spans that arrived so far, each once: the SDK sends those again whose answer took too long."""
        return list({span.span: span for body in self.bodies for span in _spans(body)}.values())

    async def named(self, name: str, count: int = 1) -> list[Seen]:
        """The spans of a name, once there are so many, in the order in which they ended."""

        async def arrived() -> bool:
            return len([span for span in self.spans if span.name == name]) >= count

        await until(arrived)
        return [span for span in self.spans if span.name == name]


@contextmanager
def running_collector() -> Iterator[Collector]:
    """A collector, for the length of the block."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        known: ClassVar = collector

        def do_POST(self) -> None:  # the standard library's name
            body = self.rfile.read(int(self.headers["content-length"]))
            self.known.answer.wait()
            self.known.headers = {name.lower(): value for name, value in self.headers.items()}
            if self.path == "/v1/traces" and self.known.status == 200:
                self.known.bodies.append(body)
            else:
                self.known.refused += 1
            self.send_response(self.known.status if self.path == "/v1/traces" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    try:
        yield collector
    finally:
        collector.answer.set()
        server.shutdown()
        serving.join()
        server.server_close()


def _spans(body: bytes) -> Iterator[Seen]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = _attributes(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield _seen(span, service, scope.schema_url)


def _seen(span: Span, service: str, schema: str) -> Seen:
    return Seen(
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace=span.trace_id.hex(),
        span=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        attributes=_attributes(span.attributes),
        links={link.span_id.hex(): _attributes(link.attributes) for link in span.links},
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        service=service,
        schema=schema,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        known: KeyValue = pair
        found[known.key] = _value(known.value)
    return found


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)
