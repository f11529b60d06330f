"""Bodies of answers, event by event, for answers that the simulated server sends as `raw`."""

from __future__ import annotations

import json
from typing import Any


def event(data: Any) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(data)}\n\n"


def choice(content: str | None = None, finish: str | None = None, **delta: Any) -> str:
    """One chunk of a chat completion."""
    return event({"choices": [{"delta": {"content": content, **delta}, "finish_reason": finish}]})


START = event({"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}})


def delta(content: str) -> str:
    """One piece of text of a message."""
    return event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": content}})


def failed(kind: str) -> str:
    """An error event of a message."""
    return event({"type": "error", "error": {"type": kind, "message": "x"}})


def stop(reason: str, tokens: int = 2) -> str:
    """The end of a message."""
    end = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": tokens}}
    return event(end) + event({"type": "message_stop"})


def usage(asked: object, written: object, **details: object) -> str:
    """The chunk of a chat completion that reports the usage."""
    counts = {"prompt_tokens": asked, "completion_tokens": written, "prompt_tokens_details": details or None}
    return event({"choices": [], "usage": counts})
