"""A fast simulated OpenAI and Anthropic server with a set behaviour: `python -m tests.support.llm_server --port N`.

Base URLs: `http://127.0.0.1:N/v1` for OpenAI (chat completions), `http://127.0.0.1:N` for Anthropic (messages); both
stream only. Under `/_` it is controlled, see `llm_behaviour.Control`; `tests/support/llm.py` has a client.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from functools import partial
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import httptools
import msgspec
import uvloop

from shared.server.serve import set_by_signals
from tests.support import llm_dialects
from tests.support.llm_behaviour import Behaviour, Call, Control, Failing, State

_STAMP = llm_dialects.STAMP.encode()


class _Asked(msgspec.Struct):
    model: str = ""
    stream: bool = False
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


class Connection(asyncio.Protocol):
    """One client; one call at a time."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._call: Call | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = self._stamped = False
        self._fresh = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is always a Transport

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._end("disconnected")

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._paused = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._paused = False

    def on_message_begin(self) -> None:
        """See httptools."""
        self._path, self._body = "", b""
        self._headers: dict[str, str] = {}

    def on_url(self, url: bytes) -> None:
        """See httptools."""
        self._path += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        self._headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._body += body

    def on_message_complete(self) -> None:
        """See httptools."""
        where = urlsplit(self._path)
        if where.path.startswith("/_"):
            Control(self._state, self._respond).handle(where.path, parse_qs(where.query), self._body)
        elif where.path.endswith("/chat/completions"):
            self._answer("openai")
        elif where.path.endswith("/v1/messages"):
            self._answer("anthropic")
        else:
            self._respond(404, {"error": {"message": "no such path"}})

    def _respond(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        payload = msgspec.json.encode(body)
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n{more}\r\n"
        self._transport.write(head.encode() + payload)

    def _answer(self, dialect: str) -> None:
        asked = msgspec.json.decode(self._body, type=_Asked)
        behaviour, failing = self._state.answer_to(asked.model)
        if behaviour.refuses:
            body = msgspec.json.decode(self._body)
            refusal = next((one for one in behaviour.refuses if one.fits(body)), None)
            failing = failing or (Failing(status=refusal.status, body=refusal.body) if refusal else None)
        call = Call(at=time.time(), model=asked.model, dialect=dialect, status=failing.status if failing else 200)
        if behaviour.keep_bodies:
            call.body, call.headers, call.path = msgspec.json.decode(self._body), self._headers, self._path
        self._state.calls.append(call)
        self._state.connections += self._fresh
        self._fresh = False
        if failing is not None:
            call.end, call.ended_at = "answered", call.at
            retry_after = {} if failing.retry_after is None else {"retry-after": f"{failing.retry_after:g}"}
            body = failing.body or llm_dialects.failure(dialect, failing.status)
            self._respond(failing.status, body, retry_after | failing.headers)
        elif not asked.stream:
            self._respond(400, {"error": {"type": "invalid_request_error", "message": "this stand-in only streams"}})
        else:
            self._call = call
            self._state.open.add(self)
            self._state.peak = max(self._state.peak, len(self._state.open))
            self._stream(call, behaviour, asked.max_completion_tokens or asked.max_tokens)

    def _stream(self, call: Call, behaviour: Behaviour, limit: int | None) -> None:
        self._stamped = behaviour.stamped
        tokens = behaviour.tokens if limit is None else min(behaviour.tokens, limit)
        start, pieces, end = llm_dialects.stream(
            call.dialect,
            call.model,
            tokens,
            whole=tokens == behaviour.tokens,
            usage=behaviour.usage,
            stamped=behaviour.stamped,
        )
        if behaviour.raw is not None:
            start, pieces, end = b"", [llm_dialects.chunk(text.encode()) for text in behaviour.raw], b""
        elif behaviour.cut is not None:
            pieces, end = pieces[: behaviour.cut_after], b""
        kind = f"content-type: {behaviour.content_type}\r\n" if behaviour.content_type else ""
        head = f"HTTP/1.1 200 OK\r\n{kind}transfer-encoding: chunked\r\n\r\n"
        self._transport.write(head.encode() + start)
        finish = partial(self._finish, end, behaviour.cut)
        loop = asyncio.get_running_loop()
        wait_s = behaviour.first_token_s + random.uniform(0, behaviour.first_spread_s)
        first = loop.time() + wait_s
        if wait_s or behaviour.gap_s:
            self._timer = loop.call_at(first, self._next, pieces, 0, first, behaviour, finish)
        else:
            self._next(pieces, 0, first, behaviour, finish)

    def _next(self, pieces: list[bytes], written: int, due: float, behaviour: Behaviour, finish: partial[None]) -> None:
        loop, call = asyncio.get_running_loop(), self._call
        if call is None:
            return
        if behaviour.gap_s == 0 or (written >= len(pieces) and not behaviour.endless):
            self._write(b"".join(pieces[written:]))
            call.tokens = max(written, len(pieces))
            finish()
            return
        if not self._paused:
            self._write(pieces[written % len(pieces)])
            written += 1
            call.tokens = written
        # Absolute times: a busy server catches up instead of slowing every stream.
        self._timer = loop.call_at(
            due + behaviour.gap_s, self._next, pieces, written, due + behaviour.gap_s, behaviour, finish
        )

    def _write(self, pieces: bytes) -> None:
        if self._stamped:
            pieces = pieces.replace(_STAMP, b"%.4f " % time.time())
        self._transport.write(pieces)

    def _finish(self, end: bytes, cut: str | None) -> None:
        if cut == "stall":
            return
        if cut == "drop":
            # Without the last chunk of the body: to a client this is a connection that broke.
            self._end("cut")
            self._transport.close()
            return
        self._transport.write(end + b"0\r\n\r\n")
        self._end("cut" if cut else "complete")

    def _end(self, how: Literal["complete", "cut", "disconnected"]) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._call is not None:
            self._call.end, self._call.ended_at = how, time.time()
            self._call = None
        self._state.open.discard(self)


async def main(port: int) -> None:
    """Serve on loopback until SIGTERM or SIGINT."""
    stop, state = asyncio.Event(), State()
    loop = asyncio.get_running_loop()
    with set_by_signals(stop):
        server = await loop.create_server(lambda: Connection(state), "127.0.0.1", port, backlog=4096)
        await stop.wait()
        server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(main(parser.parse_args().port))
