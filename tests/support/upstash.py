"""A REST endpoint as Upstash documents it, in front of a real Redis, with the faults that tests want.

Faults are fields of `Upstash`. Not modelled: RESP2 answers, subscribe and monitor streams, ACL tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import hiredis
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.server.sockets import listen
from tests.support.upstash_wire import Refused, as_base64, parse, plain, read_body

CUT = "presswork.cut"
TOKEN = "AXasdf-1234_secret-rest-token"
BLOCKING = frozenset({"BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX", "BLMPOP", "BZMPOP", "WAIT"})
CONNECTION_BOUND = frozenset(
    {"SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "MONITOR", "MULTI", "EXEC", "WATCH", "AUTH", "HELLO"}
)
QUOTAS = {
    "day": "ERR max daily request limit exceeded. Limit: 10000, Usage: 10001.",
    "month": "ERR max requests limit exceeded. Limit: 500000, Usage: 500001. See https://upstash.com/docs/redis",
}


class _Redis:
    """One connection that answers in Redis's own words, errors too."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, commands: list[list[Any]]) -> list[Any]:
        """The answers in order; no other commands come between them."""
        async with self._lock:
            if self._streams is None:
                self._streams = await self._open()
            reader, writer = self._streams
            writer.write(b"".join(hiredis.pack_command(tuple(command)) for command in commands))
            parser, answers = hiredis.Reader(), list[Any]()
            while len(answers) < len(commands):
                if (answer := parser.gets()) is False:
                    parser.feed(await reader.read(1 << 16))
                else:
                    answers.append(answer)
            return answers

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._parts.scheme == "unix":
            return await asyncio.open_unix_connection(self._parts.path)
        return await asyncio.open_connection(self._parts.hostname, self._parts.port)

    async def aclose(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            await self._streams[1].wait_closed()


@dataclass
class Upstash:
    """A running endpoint. Faults: `latency_s` before anything is run; `lose` more answers are lost after their commands
    were run; `garble` more are answered with HTML; `quota` "day" or "month" is used up; `status` answers every request.

    `requests` has every one: method, path and how many commands it carried. `sync_tokens` are those clients sent.
    """

    url: str
    redis: _Redis
    token: str = TOKEN
    latency_s: float = 0.0
    lose: int = 0
    garble: int = 0
    quota: str = ""
    status: int = 0
    request_bytes_max: int = 10_000_000
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    sync_tokens: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    headers: list[dict[bytes, bytes]] = field(default_factory=list)
    _serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        self.headers.append(headers)
        body = await read_body(receive)
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        try:
            answer, status = await self._answer(scope, headers, body), 200
            if isinstance(answer, dict) and "error" in answer:
                status = 400
        except Refused as refused:
            answer, status = {"error": str(refused)}, refused.status
        if self.lose > 0:
            self.lose -= 1
            # The transport is cut with the commands run and not a byte of the answer sent.
            scope[CUT]()
            return
        content = json.dumps(answer).encode()
        if self.garble > 0:
            self.garble -= 1
            content = b"<html>Bad Gateway</html>"
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(content)).encode()),
                    (b"upstash-sync-token", f"sync-{next(self._serial)}".encode()),
                ],
            }
        )
        await send({"type": "http.response.body", "body": content if scope["method"] != "HEAD" else b""})

    async def _answer(self, scope: Any, headers: dict[bytes, bytes], body: bytes) -> Any:
        method, path = scope["method"], scope["raw_path"].decode().split("?")[0]
        query = parse_qsl(scope["query_string"].decode(), keep_blank_values=True)
        self.requests.append((method, path, 0))
        if method not in ("GET", "HEAD", "POST", "PUT"):
            raise Refused(405, "Only HEAD, GET, POST and PUT methods are allowed.")
        given = headers.get(b"authorization", b"").decode().removeprefix("Bearer ") or dict(query).get("_token", "")
        if given != self.token:
            raise Refused(401, "WRONGPASS invalid or missing auth token")
        if self.status:
            raise Refused(self.status, "ERR the endpoint has a bad day")
        if len(body) > self.request_bytes_max:
            raise Refused(
                400, f"ERR max request size exceeded. Limit: {self.request_bytes_max} bytes, Actual: {len(body)} bytes"
            )
        if token := headers.get(b"upstash-sync-token"):
            self.sync_tokens.append(token.decode())
        encode = as_base64 if headers.get(b"upstash-encoding") == b"base64" else plain
        if path.strip("/") in ("pipeline", "multi-exec"):
            if method not in ("POST", "PUT"):
                raise Refused(405, "Only POST and PUT are allowed here.")
            commands = parse(body, nested=True)
            self.requests[-1] = (method, path, len(commands))
            if path.strip("/") == "multi-exec":
                return await self._transaction(commands, encode)
            return [await self._one(command, encode) for command in commands]
        if path.strip("/"):
            command: list[Any] = [unquote(part) for part in path.strip("/").split("/")]
            command += [body] if body else []
            command += [part for pair in query if pair[0] != "_token" for part in pair]
        else:
            command = parse(body, nested=False)
        self.requests[-1] = (method, path, 1)
        return await self._one(command, encode)

    def _refusal(self, command: list[Any]) -> str | None:
        """The endpoint's own answer to a command."""
        verb = str(command[0]).upper()
        self.commands.append(verb)
        if self.quota:
            return QUOTAS[self.quota]
        words = [str(part).upper() for part in command]
        blocks = verb in ("XREAD", "XREADGROUP") and "BLOCK" in words[: words.index("STREAMS") + 1]
        if verb in BLOCKING or verb in CONNECTION_BOUND or blocks:
            return f"ERR Command is not available: '{verb}'. See https://upstash.com/docs/redis/overall/compatibility"
        return None

    async def _one(self, command: list[Any], encode: Any) -> dict[str, Any]:
        if (message := self._refusal(command)) is not None:
            return {"error": message}
        (answer,) = await self.redis.run([command])
        return {"error": str(answer)} if isinstance(answer, hiredis.ReplyError) else {"result": encode(answer)}

    async def _transaction(self, commands: list[list[Any]], encode: Any) -> Any:
        for command in commands:
            if (message := self._refusal(command)) is not None:
                return {"error": f"EXECABORT Transaction discarded because of previous errors. {message}"}
        answers = (await self.redis.run([["MULTI"], *commands, ["EXEC"]]))[-1]
        if isinstance(answers, hiredis.ReplyError):
            return {"error": str(answers)}
        return [
            {"error": str(answer)} if isinstance(answer, hiredis.ReplyError) else {"result": encode(answer)}
            for answer in answers
        ]


class _Protocol(HttpToolsProtocol):
    """uvicorn's own, with a way to cut the connection from inside the application."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[CUT] = self.transport.abort  # type: ignore[literal-required]  # an extension of this file's own


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are the test run's own


@asynccontextmanager
async def running_upstash(redis_url: str) -> AsyncIterator[Upstash]:
    """The endpoint on a free port of loopback, in this event loop, until the end of the block."""
    (bound,) = listen("127.0.0.1", 0)
    redis = _Redis(redis_url)
    upstash = Upstash(f"http://127.0.0.1:{bound.getsockname()[1]}", redis)
    config = uvicorn.Config(
        upstash, http=_Protocol, ws="none", lifespan="off", log_config=None, access_log=False, timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        yield upstash
    finally:
        server.should_exit = True
        await serving
        bound.close()
        await redis.aclose()
