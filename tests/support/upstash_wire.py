"""The wire format of Upstash's REST API: commands out of JSON, answers into it, as its documentation has them."""

from __future__ import annotations

import base64
import json
from typing import Any


class Refused(Exception):
    """A request that the endpoint answers itself, with this HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read_body(receive: Any) -> bytes:
    """The whole body of an ASGI request."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def parse(body: bytes, *, nested: bool) -> list[Any]:
    """A command, or `nested` a list of them. Refused when it is neither."""
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    sound = isinstance(parsed, list) and bool(parsed)
    if nested:
        sound = sound and all(isinstance(command, list) and command for command in parsed)
    if not sound:
        raise Refused(400, "ERR failed to parse command: expected a JSON array")
    return [_words(command) for command in parsed] if nested else _words(parsed)


def _words(command: list[Any]) -> list[Any]:
    """Arguments as Redis takes them; the clients send numbers as JSON numbers."""
    return [json.dumps(part) if isinstance(part, (dict, list, bool)) else part for part in command]


def plain(answer: Any) -> Any:
    """An answer as JSON can hold it."""
    if isinstance(answer, list):
        return [plain(part) for part in answer]
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer


def as_base64(answer: Any) -> Any:
    """The same for clients that ask for bytes as they are; an OK stays an OK."""
    if isinstance(answer, list):
        return [as_base64(part) for part in answer]
    if isinstance(answer, bytes):
        return "OK" if answer == b"OK" else base64.b64encode(answer).decode()
    return answer
