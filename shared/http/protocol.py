"""HTTP/1.1 as uvicorn speaks it, without what it leaves open.

The head of a request has limits as its body has. What is no HTTP is answered with a problem document too. A client that
offers another protocol (Java's own offers HTTP/2 at first, with a body behind it) is answered in this one.
"""

from __future__ import annotations

import asyncio
from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from shared.http.problems import HEAD_TOO_LARGE, HEAD_TOO_SLOW, INVALID, MEDIA_TYPE, METHOD_NOT_ALLOWED, Problem

HEAD_MAX: Final = 64 * 1024
"""Bytes of a request's line and headers; those that came with its first piece are not counted."""

HEAD_SECONDS: Final = 10.0
"""How long the rest of a head may take after its first piece."""

_OFFERS: Final = (b"upgrade", b"http2-settings")
"""Headers that offer another protocol, and what stands for them in `Connection`."""


class Http(HttpToolsProtocol):
    """One connection."""

    _head_bytes: int | None = None
    """Of the head that has begun; None: none has, or it is complete."""

    _head_timer: asyncio.TimerHandle | None = None
    _repeat = b""
    """The head of a request that offers another protocol, without the offer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client connected; one that says nothing is left as one that says nothing more."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        self._unset_keepalive_if_required()
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        try:
            while data:
                data = self._feed(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self._refuse(Problem(INVALID, "not HTTP; in a URL, are all characters but ASCII percent-encoded?"))
            return
        if self._head_bytes is None:
            self._stop_timer()
        elif self._head_bytes > HEAD_MAX:
            self._refuse(Problem(HEAD_TOO_LARGE, f"at most {HEAD_MAX} bytes"))
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._refuse, Problem(HEAD_TOO_SLOW))

    def _feed(self, data: bytes) -> bytes:
        """Parse; what is left is to be parsed again."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:  # behind the head: its body was not looked at
            if not self._repeat:
                self._refuse(Problem(METHOD_NOT_ALLOWED))
                return b""
            self.parser = httptools.HttpRequestParser(self)  # the old one ends with a request that says `close`
            return self._repeat + data[stopped.args[0] :]
        return b""

    def on_message_begin(self) -> None:
        """A head begins."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is complete; one that offers another protocol is read again without the offer."""
        self._head_bytes = None
        if self.parser.should_upgrade():
            self._repeat = self._head_without_offer()
        else:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is complete."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is complete; who gets it instead of `100 Continue` may send the body or not: nothing can follow."""
        super().on_response_complete()
        if self.expect_100_continue and self.cycle.response_complete and self.cycle.more_body:
            self.transport.close()

    def _head_without_offer(self) -> bytes:
        """Empty for CONNECT, which is itself such an offer."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            return b""
        lines = [b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            kept = value
            if name == b"connection":
                kept = b",".join(word for word in value.split(b",") if word.strip().lower() not in _OFFERS)
            if name not in _OFFERS and (kept or not value):
                lines.append(name + b": " + kept)
        return b"\r\n".join([*lines, b"", b""])

    def _refuse(self, problem: Problem) -> None:
        """Answer what never reaches the application, unless another answer is under way, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self._write(problem)
        self.transport.close()

    def _write(self, problem: Problem) -> None:
        body = problem.body()
        headers = [
            *self.server_state.default_headers,
            *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[problem.kind.status] + lines + b"\r\n" + body)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
