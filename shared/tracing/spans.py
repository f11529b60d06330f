"""Spans and the tracer that begins them, as the services know them. `UNTRACED` and `OFF` are those of tracing that is
off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import Final, Protocol, Self

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


class Span:
    """A part of a trace. Nothing of it raises or waits; after its end it changes no more.

    `traceparent`: the context in which its children begin, in this process or another; None: tracing is off.
    """

    __slots__ = ()

    @property
    def traceparent(self) -> str | None:
        return None

    def set(self, attributes: Attributes) -> None:
        """Add attributes, or replace them."""

    def end(self, error: str | None = None) -> None:
        """End it; again changes nothing. `error`: the type of what went wrong, never a message."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(None if kind is None else kind.__name__)


class Tracer(Protocol):
    """Begins spans. `on`: whether they go anywhere."""

    @property
    def on(self) -> bool: ...

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


class _Off:
    on = False

    def begin(self, *_: object, **__: object) -> Span:
        return UNTRACED


UNTRACED: Final = Span()
OFF: Final = _Off()
