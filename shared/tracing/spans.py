"""Spans and the tracer that begins them, as the services know them. Where tracing is off there is no tracer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import Protocol, Self

import msgspec

Attributes = Mapping[str, str | bool | int | float | Sequence[str]]


class Kind(Enum):
    """OpenTelemetry's kinds of spans."""

    PRODUCER = "producer"
    CONSUMER = "consumer"
    CLIENT = "client"


class Link(msgspec.Struct, frozen=True):
    """Another span that led to this one without being its parent. `traceparent`: its context."""

    traceparent: str
    attributes: Attributes = {}


class Span(Protocol):
    """A part of a trace. Nothing of it raises or waits; after its end it changes no more. As a context manager it ends
    with the block, with the type of an exception as its error.

    `traceparent`: the context in which its children begin, in this process or another; None: it is thrown away.
    """

    @property
    def traceparent(self) -> str | None: ...

    def set(self, attributes: Attributes) -> None:
        """Add attributes, or replace them."""

    def end(self, error: str | None = None) -> None:
        """End it; again changes nothing. `error`: its type, never a message."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Tracer(Protocol):
    """Begins spans."""

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
        """A span that begins now. `parent`: the context that it continues; `own`: the context it is to have, else one
        is made. Malformed contexts count as none."""
        ...
