"""Providers whose answers have no end: little memory, a loop that goes on, and the failure that is documented."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.providers import Action, ProviderError
from services.worker.providers.replies.anthropic_events import MessageReply
from services.worker.providers.replies.openai_chunks import ChatReply
from services.worker.providers.replies.reply import Reply
from tests.support.adapters import BOTH, Collected, collect, open_provider, request
from tests.support.floods import Flood, bomb, endless, flooding, measured
from tests.support.llm_bodies import choice, event

PLAIN = b"HTTP/1.1 200 OK\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
GROWTH_MIB = 48
"""Memory that one call may need beside its text, with room for the rest of the process."""

STALL_S = 1.5
"""Far below a lease, with room for a busy machine."""


async def _call(flood: Flood, name: str = "openai") -> Collected:
    async with open_provider(name, flood.url) as provider:
        return await collect(provider, request(name))


async def _strained(head: bytes, pieces: Iterable[bytes], name: str = "openai") -> Collected:
    """One call that must stay within its bounds."""
    async with flooding(head, pieces) as flood, measured() as strain, asyncio.timeout(30):
        seen = await _call(flood, name)
    assert strain.grown_mib < GROWTH_MIB
    assert strain.stalled_s < STALL_S
    return seen


def _refused(status: int, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nretry-after: 7\r\n%s\r\n" % (status, more)


@pytest.mark.parametrize(
    ("status", "expected"), [(429, "RateLimited"), (500, "ProviderUnavailable"), (401, "ProviderKeyRejected")]
)
@pytest.mark.parametrize("name", BOTH)
async def test_an_error_without_end(name: str, status: int, expected: str) -> None:
    """Of an error's body the first bytes are read; then its status and its retry-after decide."""
    seen = await _strained(_refused(status), endless(b"x" * 65_536), name)
    assert seen.failed.error.type == expected
    assert seen.failed.retry_after_s == (None if status == 401 else 7.0)


async def test_an_error_without_end_from_a_proxy() -> None:
    """The bounds hold on the way through a proxy, which has a transport of its own."""
    async with (
        flooding(_refused(429), endless(b"x" * 65_536)) as flood,
        measured() as strain,
        open_provider("openai", "http://provider.example/v1", proxy=flood.url) as provider,
        asyncio.timeout(30),
    ):
        assert (await collect(provider, request("openai"))).failed.error.type == "RateLimited"
    assert strain.grown_mib < GROWTH_MIB


@pytest.mark.parametrize("encoding", [b"gzip", b"gzip, gzip"])
@pytest.mark.parametrize("name", BOTH)
async def test_an_error_that_inflates(name: str, encoding: bytes) -> None:
    """A compressed error of a mebibyte that is a gibibyte is read no further than any other."""
    body = bomb(b"x", 1024)
    head = _refused(429, b"content-encoding: %s\r\ncontent-length: %d\r\n" % (encoding, len(body)))
    seen = await _strained(head, [body], name)
    assert (seen.failed.error.type, seen.failed.retry_after_s) == ("RateLimited", 7.0)


@pytest.mark.parametrize("name", BOTH)
async def test_an_error_that_drips(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error whose body comes a byte at a time is not waited for."""
    monkeypatch.setattr("services.worker.providers.http.bounds.ERROR_SECONDS", 0.2)
    async with flooding(_refused(429), endless(b"x"), gap_s=0.01) as flood, asyncio.timeout(30):
        assert (await _call(flood, name)).failed.error.type == "RateLimited"


@pytest.mark.parametrize("body", [b"", b'{"error": {"type": "rate_li'])
@pytest.mark.parametrize("name", BOTH)
async def test_an_error_that_breaks_off(name: str, body: bytes) -> None:
    """A connection that breaks inside an error's body does not hide the error."""
    async with flooding(_refused(429, b"content-length: 999\r\n"), [body]) as flood:
        error = (await _call(flood, name)).failed
    assert (error.error.type, error.retry_after_s) == ("RateLimited", 7.0)


@pytest.mark.parametrize(
    "header",
    [
        b"server: caf\xe9",
        b"x-request-id: \xff",
        "x-note: 你好".encode(),
        b"content-type: application/json; charset=utf-16",
    ],
)
@pytest.mark.parametrize("name", BOTH)
async def test_an_error_with_headers_of_any_encoding(name: str, header: bytes) -> None:
    """Neither bytes that are no ASCII nor the charset of a body hide the error and the time to wait."""
    body = b'{"error": {"type": "rate_limit_error"}}'
    async with flooding(_refused(429, header + b"\r\n"), [body]) as flood:
        error = (await _call(flood, name)).failed
    assert (error.error.type, error.retry_after_s) == ("RateLimited", 7.0)


@pytest.mark.parametrize("unit", [b"x", b":\n\n", b"data:\n\n", event({}).encode()])
@pytest.mark.parametrize("encoding", [b"", b"gzip", b"gzip, gzip"])
async def test_an_answer_that_says_nothing_for_ever(
    encoding: bytes, unit: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line without end, comments and empty events without end, as they are or packed: unreadable, and soon left."""
    if unit.startswith(b"data"):
        monkeypatch.setattr("services.worker.providers.replies.stream_reader.ANSWER_MAX_BYTES", 1 << 23)  # dear to read
    if not encoding:
        seen = await _strained(PLAIN, endless(unit * (65_536 // len(unit))))
    else:
        head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %s\r\n\r\n" % encoding
        seen = await _strained(head, [bomb(unit, 1024)])
    assert (seen.failed.error.type, seen.failed.action) == ("StreamMalformed", Action.RETRY)


async def test_a_bomb_after_the_end() -> None:
    """An answer that has its finish reason is whole, with any bytes behind it."""
    whole = choice("Hi", "stop") + "data: [DONE]\n\n"
    body = bomb(b":\n\n", 1024, before=whole.encode())
    seen = await _strained(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n", [body])
    assert (seen.text, seen.done.finish_reason) == ("Hi", "stop")


@pytest.mark.parametrize("line", [b"x-more: 1\r\n", b"x"])
@pytest.mark.parametrize(
    ("text", "expected"), [(choice("Hi"), "StreamBroken"), (choice("Hi", "stop"), None), ("", "StreamBroken")]
)
async def test_trailers_without_end(line: bytes, text: str, expected: str | None) -> None:
    """The bytes after a chunked body are bounded like the head before it."""
    chunk = b"%x\r\n%s\r\n" % (len(text), text.encode()) if text else b""
    seen = await _strained(CHUNKED + chunk + b"0\r\n", endless(line * (65_536 // len(line))))
    assert (seen.error.error.type if seen.error else None) == expected


@pytest.mark.parametrize("status", [b"200 OK", b"103 Early Hints", b"429 X"])
async def test_a_head_without_end(status: bytes) -> None:
    """Headers, and interim answers, without end: no answer came."""
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    pieces = endless(interim * 1000 if status.startswith(b"103") else b"x: y\r\n" * 10_000)
    assert (await _strained(b"HTTP/1.1 %s\r\n" % status, pieces)).failed.error.type == "StreamBroken"


_DEEP = b"[" * 300 + b"]" * 300


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"error": ' + b"[" * 100_000, "StreamMalformed"),
        (b'{"x": ' + b"[" * 100_000, "StreamMalformed"),
        (b'{"type": "error", "error": {"code": %s}}' % _DEEP, "StreamFailed"),
        (b'{"type": "content_block_delta", "delta": {"text": "\xff"}, "error": "\xff"}', "StreamMalformed"),
    ],
)
@pytest.mark.parametrize("name", BOTH)
async def test_what_no_parser_takes(name: str, data: bytes, expected: str) -> None:
    """JSON nested too deep, and text that is no UTF-8, are unreadable in an event; as the whole body they are at least
    a failure of the provider and not one of ours."""
    async with flooding(PLAIN, [b"data: " + data + b"\n\n"]) as flood:
        assert (await _call(flood, name)).failed.error.type == expected
    async with flooding(PLAIN, [data]) as flood:
        assert (await _call(flood, name)).failed.action is Action.RETRY


FIELDS = (
    "choices", "delta", "message", "content", "finish_reason", "native_finish_reason", "index", "usage", "error",
    "object", "errors", "detail", "type", "response", "x_groq", "base_resp", "refusal", "reasoning_content",
    "reasoning", "reasoning_details", "thinking", "extra_content", "content_block", "stop_reason", "text", "google",
    "thought", "prompt_tokens", "completion_tokens", "total_tokens", "completion_tokens_details", "reasoning_tokens",
    "details",
    "message_delta", "content_block_delta", "content_block_start", "code", "status", "reason", "retryDelay",
)  # fmt: skip
WORDS = st.sampled_from(["message_start", "message_delta", "content_block_delta", "content_block_start", "message",
                         "text", "thinking", "response.completed", "<think>", "stop"])  # fmt: skip
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), inner),
    max_leaves=12,
)


@pytest.mark.parametrize("kind", [ChatReply, MessageReply])
@given(events=st.lists(st.dictionaries(st.sampled_from(FIELDS), ANY, min_size=1) | ANY, max_size=4))
def test_any_json_in_any_field(kind: type[Reply], events: list[Any]) -> None:
    """Any value in any field is read, passed over, or a failure of the provider: nothing else is raised."""
    reply = kind(("think",))
    with contextlib.suppress(ProviderError):
        for event in events:
            reply.take(json.dumps(event).encode()).encode()
    reply.rest().encode()
    assert reply.usage is None or reply.usage.output_tokens >= 0
