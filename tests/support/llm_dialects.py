"""The bytes of a streamed answer, as OpenAI's chat completions and Anthropic's messages send them."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

INPUT_TOKENS = 11
CACHED_TOKENS = 3
"""Part of INPUT_TOKENS."""


STAMP = "0000000000.0000 "
"""The text of a token that is stamped when it is written: the moment in s since the epoch, always so long."""


def piece(index: int) -> str:
    """The text of one token."""
    return f"{'' if index == 0 else ' '}word{index}"


def text(tokens: int) -> str:
    """The whole text of an answer."""
    return "".join(map(piece, range(tokens)))


def chunk(payload: bytes) -> bytes:
    """One chunk of a chunked HTTP body."""
    return b"%x\r\n%s\r\n" % (len(payload), payload)


def _openai(data: Any) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def _anthropic(data: dict[str, Any]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


def _openai_chunk(model: str, choices: list[Any], **more: Any) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    return _openai({**head, "choices": choices, **more})


def _openai_stream(model: str, words: list[str], finish: str, usage: bool) -> tuple[bytes, list[bytes], bytes]:
    def choice(delta: dict[str, Any], finish_reason: str | None = None) -> list[Any]:
        return [{"index": 0, "delta": delta, "finish_reason": finish_reason}]

    start = _openai_chunk(model, choice({"role": "assistant", "content": ""}))
    pieces = [_openai_chunk(model, choice({"content": word})) for word in words]
    end = _openai_chunk(model, choice({}, finish))
    if usage:
        counts = {
            "prompt_tokens": INPUT_TOKENS,
            "completion_tokens": len(words),
            "total_tokens": INPUT_TOKENS + len(words),
            "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
        }
        end += _openai_chunk(model, [], usage=counts)
    return start, pieces, end + b"data: [DONE]\n\n"


def _anthropic_stream(model: str, words: list[str], finish: str) -> tuple[bytes, list[bytes], bytes]:
    counts = {
        "input_tokens": INPUT_TOKENS - CACHED_TOKENS,
        "cache_read_input_tokens": CACHED_TOKENS,
        "cache_creation_input_tokens": 0,
        "output_tokens": 1,
    }
    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": counts,
    }  # fmt: skip
    start = _anthropic({"type": "message_start", "message": message})
    block = {"type": "text", "text": ""}
    start += _anthropic({"type": "content_block_start", "index": 0, "content_block": block})
    pieces = [
        _anthropic(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
        )
        for word in words
    ]  # fmt: skip
    end = _anthropic({"type": "content_block_stop", "index": 0})
    delta = {"stop_reason": finish, "stop_sequence": None}
    end += _anthropic({"type": "message_delta", "delta": delta, "usage": {"output_tokens": len(words)}})
    return start, pieces, end + _anthropic({"type": "message_stop"})


@lru_cache(maxsize=256)
def stream(
    dialect: str, model: str, tokens: int, *, whole: bool, usage: bool = True, stamped: bool = False
) -> tuple[bytes, list[bytes], bytes]:
    """Start, one item per token, and end of an answer; each a chunk of a chunked body.

    `whole`: False when the answer was cut at the caller's limit. `usage`: False like a server that reports none.
    `stamped`: every text is STAMP.
    """
    words = [STAMP] * tokens if stamped else [piece(i) for i in range(tokens)]
    if dialect == "openai":
        start, pieces, end = _openai_stream(model, words, "stop" if whole else "length", usage)
    else:
        start, pieces, end = _anthropic_stream(model, words, "end_turn" if whole else "max_tokens")
    return chunk(start), [chunk(one) for one in pieces], chunk(end)


def failure(dialect: str, status: int) -> dict[str, Any]:
    """A plausible body of an answer with this status, in the shape of its vendor."""
    types = {
        400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
        413: "request_too_large", 429: "rate_limit_error", 529: "overloaded_error",
    }  # fmt: skip
    error: dict[str, Any] = {"type": types.get(status, "api_error"), "message": "the simulated server fails on purpose"}
    if dialect == "openai":
        return {"error": {**error, "param": None, "code": None}}
    return {"type": "error", "error": error, "request_id": "req_1"}
