"""Redis over HTTP, in Upstash's form: for a gateway whose platform has no lasting connections.

Commands of one iteration of the event loop leave as one `POST /pipeline`, a single one as `POST /`. Each is sent once:
no request is ever repeated here. (Wire format: Upstash's documentation, "REST API".)
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

import httpx2
import msgspec
from redis._parsers.base import BaseParser  # the same exceptions as over a socket
from redis.exceptions import RedisError, ResponseError

from shared.errors import StoreUnavailable
from shared.settings import RestEndpoint
from shared.store.connection.connector import CONNECT_TIMEOUT_S
from shared.store.connection.multiplexer import Reply
from shared.telemetry.causes import FailureLog

REQUEST_BYTES: Final = 9_000_000
"""Largest body of one request; the host refuses more than 10 MB."""

PIPELINE_COMMANDS: Final = 128
"""Most commands of one request: its replies must fit in memory, and few should be lost with it."""

ANSWER_BYTES: Final = 64 << 20
REQUESTS_AT_ONCE: Final = 32
KEEP_ALIVE_S: Final = 20.0

_encode: Final = msgspec.json.Encoder().encode


class _Call:
    __slots__ = ("body", "done", "sent")

    def __init__(self, body: bytes, done: asyncio.Future[Reply]) -> None:
        self.body = body
        self.done = done
        self.sent = False


class RestTransport:
    """A `Transport`. The token is sent in a header only, and is in no error or log line.

    A time-out, a broken connection or a reply that cannot be read is StoreUnavailable, whose `sent` is True if the
    command may have taken effect. Without a connection there is no view to lose: `generation` stays 0.
    """

    generation: Final = 0

    def __init__(self, endpoint: RestEndpoint, *, timeout: float = 2.0) -> None:
        self._timeout = timeout
        self._outbox: list[_Call] = []
        self._flush: asyncio.Handle | None = None
        self._requests: set[asyncio.Task[None]] = set()
        self._sync_token = ""
        self._failures = FailureLog("redis_rest_failed")
        self._closed = False
        self._http = httpx2.AsyncClient(
            base_url=endpoint.url,
            headers={
                "Authorization": f"Bearer {endpoint.token}",
                "Content-Type": "application/json",
                "Upstash-Encoding": "base64",
            },
            timeout=httpx2.Timeout(timeout, connect=min(CONNECT_TIMEOUT_S, timeout)),
            limits=httpx2.Limits(
                max_connections=REQUESTS_AT_ONCE,
                max_keepalive_connections=REQUESTS_AT_ONCE,
                keepalive_expiry=KEEP_ALIVE_S,
            ),
            follow_redirects=False,
            trust_env=False,  # a netrc file or a proxy of the environment must not get the token
        )

    async def execute(self, *command: bytes | str | int | float) -> Reply:
        """Send one command; the time-out covers connecting, waiting and the reply."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        call = _Call(_packed(command), asyncio.get_running_loop().create_future())
        self._outbox.append(call)
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_soon(self._send_all)
        try:
            async with asyncio.timeout(self._timeout):
                return await call.done
        except TimeoutError:
            raise StoreUnavailable(f"Redis did not answer within {self._timeout:g} s", sent=call.sent) from None

    async def aclose(self) -> None:
        """Let requests in flight end (each is bounded), then close the connections."""
        self._closed = True
        if self._requests:
            await asyncio.wait(self._requests)
        for call in self._outbox:
            _refuse(call, StoreUnavailable("the store is closed"))
        await self._http.aclose()

    def _send_all(self) -> None:
        self._flush = None
        calls, self._outbox = [call for call in self._outbox if not call.done.done()], []
        for batch in _batches(calls):
            task = asyncio.create_task(self._send(batch), name="redis-rest")
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    async def _send(self, batch: Sequence[_Call]) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                answers = await self._ask(batch)
        except (httpx2.HTTPError, TimeoutError, OSError) as error:
            reason = f"the REST endpoint cannot be reached ({type(error).__name__})"
            for call in batch:
                _refuse(call, StoreUnavailable(reason, sent=call.sent))
        except (StoreUnavailable, ResponseError) as error:
            for call in batch:
                _refuse(call, error)
        except Exception as error:
            self._failures.failed(error)
            for call in batch:
                _refuse(call, StoreUnavailable("the REST call failed", sent=call.sent))
        else:
            for call, answer in zip(batch, answers, strict=True):
                _resolve(call, answer)

    async def _ask(self, batch: Sequence[_Call]) -> list[Any]:
        async def on_event(event: str, _: dict[str, Any]) -> None:
            if event.endswith(".send_request_headers.started"):
                for call in batch:
                    call.sent = True

        path = "/" if len(batch) == 1 else "/pipeline"
        content = batch[0].body if len(batch) == 1 else b"[" + b",".join(call.body for call in batch) + b"]"
        headers = {"Upstash-Sync-Token": self._sync_token} if self._sync_token else {}
        request = self._http.build_request(
            "POST", path, content=content, headers=headers, extensions={"trace": on_event}
        )
        response = await self._http.send(request, stream=True)
        try:
            self._sync_token = response.headers.get("upstash-sync-token", self._sync_token)
            body = await _read(response)
        finally:
            await response.aclose()
        return _answers(response.status_code, body, len(batch))


def _packed(command: Sequence[bytes | str | int | float]) -> bytes:
    """A command as a JSON array of strings. ValueError for bytes that are no UTF-8: JSON cannot carry them."""
    body = _encode([part.decode() if isinstance(part, bytes) else str(part) for part in command])
    if len(body) > REQUEST_BYTES:
        raise ResponseError("max request size exceeded")
    return body


def _batches(calls: Sequence[_Call]) -> list[list[_Call]]:
    """The calls in order, shared out so that every request stays within its bounds."""
    batches: list[list[_Call]] = []
    room = 0
    for call in calls:
        if not batches or len(batches[-1]) == PIPELINE_COMMANDS or len(call.body) + 1 > room:
            batches.append([])
            room = REQUEST_BYTES
        batches[-1].append(call)
        room -= len(call.body) + 1
    return batches


async def _read(response: httpx2.Response) -> bytes:
    """The body, as long as it has a sane size."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > ANSWER_BYTES:
            raise StoreUnavailable("the REST endpoint's answer is too large", sent=True)
    return bytes(body)


def _answers(status: int, body: bytes, count: int) -> list[Any]:
    """Return one `{"result"}` or `{"error"}` per command; raise an error of the whole request.

    Below 500 a refused request was not run. After a 5xx of a proxy, or a 200 that cannot be read, commands may have
    been run.
    """
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        answer = None

    answers = answer if count > 1 else [answer]
    if status == 200 and _are_answers(answers, count):
        return list(answers)
    if status in (401, 403):
        raise StoreUnavailable(f"the REST endpoint refused the token ({status})")
    if status < 500 and isinstance(answer, dict) and isinstance(answer.get("error"), str):
        raise _error(answer["error"])

    raise StoreUnavailable(
        f"the REST endpoint answered {status} with something else", sent=status >= 500 or status < 300
    )


def _are_answers(answers: Any, count: int) -> bool:
    return isinstance(answers, list) and len(answers) == count and all(map(_is_answer, answers))


def _is_answer(answer: Any) -> bool:
    return isinstance(answer, dict) and ("result" in answer or isinstance(answer.get("error"), str))


def _error(message: str) -> RedisError:
    """The exception that redis-py's own parser makes of an error reply."""
    error: RedisError = BaseParser.parse_error(message)  # type: ignore[no-untyped-call]  # redis-py has no types here
    return error if isinstance(error, ResponseError) else ResponseError(message)


def _decoded(value: Any) -> Reply:
    """A result in the shapes of RESP2: every string is base64, except the literal OK."""
    if isinstance(value, str):
        return b"OK" if value == "OK" else base64.b64decode(value, validate=True)
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    if value is None or type(value) is int:
        return value
    raise ValueError("not a reply of Redis")


def _resolve(call: _Call, answer: dict[str, Any]) -> None:
    if call.done.done():
        return
    if "result" not in answer:
        call.done.set_exception(_error(answer["error"]))
        return
    try:
        call.done.set_result(_decoded(answer["result"]))
    except (ValueError, binascii.Error, RecursionError):
        _refuse(call, StoreUnavailable("the REST endpoint's answer cannot be read", sent=True))


def _refuse(call: _Call, error: Exception) -> None:
    if not call.done.done():
        call.done.set_exception(error)
