"""HTTP/1.1 of uvicorn, with bounds that it lacks.

While we wait for a client there is a deadline, and bytes do not move it: for a head, for a body, for the next request,
for a response that is to be read. A head has limits as a body has. Bytes that are no HTTP get a problem document too,
and a client that offers another protocol (Java's offers HTTP/2 at first, with a body behind it) is answered in this
one.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from shared.http.problems import HEAD_TOO_LARGE, HEAD_TOO_SLOW, INVALID, METHOD_NOT_ALLOWED, TOO_SLOW, Problem
from shared.server.connections import Connections, Reading
from shared.server.framing import HEAD_MAX, Framed, OneWrite
from shared.server.http10 import without_chunks
from shared.server.plain_responses import as_response, overloaded
from shared.server.upgrade_offers import without_offer

HEAD_SECONDS: Final = 10.0
"""Seconds for the rest of a head after its first piece."""

BODY_SECONDS: Final = 15.0
"""Seconds for a body after its head, also when the response was sent before it."""

PIPELINE_MAX: Final = 32
"""Requests that are read while one before them is answered."""


class _PipelineFull(Exception):
    """Raised inside the parser, which has no other way to stop between two requests."""


class Http(Framed):
    """Protocol of one connection."""

    # Slots, because a dictionary of more than 30 names costs a kilobyte more, and uvicorn has 28.
    __slots__ = (
        "_active", "_body_due", "_crowded", "_due", "_due_timer", "_full", "_others", "_reading", "_repeat",
    )  # fmt: skip

    def __init__(self, *args: Any, connections_of_server: Connections, **options: Any) -> None:
        super().__init__(*args, **options)
        self._others = connections_of_server
        self._active: RequestResponseCycle | None = None  # is being answered, or was last; `cycle` was read last
        self._body_due = False
        """Whether a head is complete and its body is not."""

        self._due = ""
        self._due_timer: asyncio.TimerHandle | None = None
        self._full = False
        self._repeat = b""
        """The head of a request that offers another protocol, without the offer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin; a client that sends nothing gets the deadline of one that sends nothing more."""
        super().connection_made(transport)
        self._reading = Reading(transport, self.loop, self.give_way)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        self._crowded = not self._others.opened(self)
        self._others.waits_for_client(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up after a lost connection."""
        self._others.closed(self)
        self._unset_keepalive_if_required()
        self._reading.stop()
        self._stop_due()
        super().connection_lost(exc)

    def give_way(self) -> None:
        """Cut the connection, whatever is being answered on it."""
        self._hang_up()
        self.transport.abort()

    def _hang_up(self) -> None:
        """Notify the application that the client is gone."""
        if self._active is not None:
            self._active.disconnected = True
            self._active.message_event.set()
        self.flow.resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which nothing was requested for too long, even if the client has not read everything
        yet."""
        self.transport.close()
        self._reading.watch()

    def pause_writing(self) -> None:
        """Note that the client reads more slowly than it is answered."""
        super().pause_writing()
        self._others.waits_for_client(self)
        self._reading.watch()

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        super().resume_writing()
        self._reading.stop()
        if self._answering:
            self._others.is_answered(self)

    @property
    def _late_body(self) -> bool:
        """Whether the bytes that still come are the body of a request that was answered without it."""
        return self._body_due and self.cycle is self._active

    @property
    def _answering(self) -> bool:
        return self._active is not None and not self._active.response_complete

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        if self._full:
            return

        self._count(len(data))
        try:
            while data:
                data = self._feed(data)
        except httptools.HttpParserError:
            self._not_parsed()
            return

        if self._endless:
            self._refuse(Problem(HEAD_TOO_LARGE, f"at most {HEAD_MAX} bytes"))
        self._set_due()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's hangs up
        """Handle the end of the client's bytes: its requests are answered; a reader of a stream has left."""
        active = self._active
        waits = active is not None and not active.response_started and not self._late_body
        if waits:
            self._full, self.cycle.keep_alive = True, False
        return waits

    def _feed(self, data: bytes) -> bytes:
        """Parse; the rest is to be parsed again."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:  # behind the head: its body was not looked at
            if not self._repeat:
                self._refuse(Problem(METHOD_NOT_ALLOWED))
                return b""
            self.parser = httptools.HttpRequestParser(self)  # the old one ends with a request that says `close`
            return self._repeat + data[stopped.args[0] :]
        return b""

    def _not_parsed(self) -> None:
        if self._full:  # those that were read are answered, the last of them with `close`
            self.cycle.keep_alive = False
            return
        self.logger.warning("Invalid HTTP request received.")
        self._refuse(Problem(INVALID, "not HTTP; in a URL, are all characters but ASCII percent-encoded?"))

    def on_message_begin(self) -> None:
        """Begin a head."""
        if len(self.pipeline) >= PIPELINE_MAX:
            self._full = True
            raise _PipelineFull
        self._unset_keepalive_if_required()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End a head; one that offers another protocol is read again without the offer."""
        if self.parser.should_upgrade():
            self._head_bytes = None
            version = self.parser.get_http_version()
            self._repeat = without_offer(self.parser.get_method(), self.url, version, self.headers)
        else:
            self._body_due = True
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a request."""
        if not self.parser.should_upgrade():
            self._body_due = False
            super().on_message_complete()
            if not self.cycle.response_complete:
                self._others.is_answered(self)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._active = cycle
        if cycle.scope["method"] != "HEAD":
            cycle.transport = OneWrite(self.transport)  # type: ignore[assignment]  # all of it that a cycle uses
        if self._crowded and not cycle.scope["path"].startswith("/health/"):
            app = overloaded
        if cycle.scope["http_version"] == "1.0":
            app = without_chunks(app, cycle)
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Handle the end of a response; a client that gets it instead of `100 Continue` may send the body or not:
        nothing can follow."""
        super().on_response_complete()
        if self.expect_100_continue and self.cycle.response_complete and self.cycle.more_body:
            self.transport.close()
        if not self._answering:
            self._others.waits_for_client(self)
        if self._due:  # whatever has begun meanwhile has its time from now on
            self._stop_due()
            self._wait_due()
        self._reading.watch()

    def _set_due(self) -> None:
        """Set the deadline of the present wait; a wait that was there before keeps its own."""
        due = "head" if self._head_bytes is not None else "body" if self._body_due else ""
        if due != self._due:
            self._stop_due()
            self._due = due
            if due:
                self._wait_due()

    def _wait_due(self) -> None:
        self._due_timer = self.loop.call_later(HEAD_SECONDS if self._due == "head" else BODY_SECONDS, self._overdue)

    def _stop_due(self) -> None:
        if self._due_timer is not None:
            self._due_timer.cancel()
            self._due_timer = None

    def _overdue(self) -> None:
        """Handle a deadline that passed; one behind a request that is being answered waits until it is."""
        active = self._active
        if active is None or active.response_complete:
            self._refuse(Problem(HEAD_TOO_SLOW if self._due == "head" else TOO_SLOW))
        elif self._due == "body" and active is self.cycle and not active.response_started:
            self._refuse(Problem(TOO_SLOW))

    def _refuse(self, problem: Problem) -> None:
        """Answer a request that never reaches the application, unless another response is under way, and close."""
        if self.transport.is_closing():
            return
        active = self._active
        if active is None or not active.response_started or (active.response_complete and not self._late_body):
            self.transport.write(as_response(problem, self.server_state.default_headers))
        self._hang_up()
        self.transport.close()
        self._reading.watch()
