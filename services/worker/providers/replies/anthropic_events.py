"""Reads messages, streamed or whole, as Anthropic and the servers that speak like it write them.

Only required fields have a type: any other field with an unexpected value is ignored, the answer is kept. Source:
Anthropic "Streaming messages" (API reference). A ping shows that the connection lives, not that the model does.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from services.worker.providers import BilledUsage
from services.worker.providers.failures.classification import CallFailure, Fault, classify
from services.worker.providers.http.client import reported
from services.worker.providers.replies.reply import UNREADABLE, Reply, count, is_over, object_in, text_in
from shared.job import reasoning


class _Event(msgspec.Struct):
    type: Any = None
    message: Any = None
    delta: Any = None
    content_block: Any = None
    usage: Any = None
    error: Any = None
    errors: Any = None
    detail: Any = None
    content: Any = None
    stop_reason: Any = None


_events: Final = msgspec.json.Decoder(_Event)
_THOUGHTS: Final = ("thinking", "redacted_thinking", "thinking_delta", "signature_delta")


def _is_error(event: _Event) -> bool:
    described = event.error or event.errors or event.detail or event.message
    return event.type == "error" or (event.type is None and bool(described))


class MessageReply(Reply):
    """Content of one message so far."""

    def take(self, data: bytes) -> str:
        """See `Reply`."""
        if data[0] != 0x7B and is_over(data):
            self.done = True
            return ""
        try:
            event = _events.decode(data)
        except UNREADABLE:
            return "".join([self._take(event, data) for event in self._reread(_events, data)])
        return self._take(event, data)

    def _take(self, event: _Event, data: bytes) -> str:
        kind = event.type
        if kind == "content_block_delta":
            if not isinstance(event.delta, dict):
                raise classify(CallFailure(fault=Fault.MALFORMED))
            return self._block(event.delta)
        if _is_error(event):
            # The status was 200 long before: only the type names the error.
            raise classify(reported(data))
        if kind == "content_block_start":
            return self._block(object_in(event.content_block))

        if kind == "message_start":
            self._count(object_in(event.message).get("usage"))
        elif kind == "message_delta":
            self._count(event.usage)
            self._end(object_in(event.delta).get("stop_reason"))
        elif kind == "message":
            return self._whole(event)

        # The API may add events at any time ("Versioning"): those with other names are skipped.
        self.done = self.done or kind == "message_stop"
        return ""

    def _block(self, block: dict[str, Any]) -> str:
        if block.get("type") in _THOUGHTS:
            self._think(text_in(block.get("thinking")))
            return ""
        text = block.get("text")
        return self._say(text_in(text)) if text else ""

    def _whole(self, message: _Event) -> str:
        """A message that was not streamed."""
        content = message.content
        blocks = content if isinstance(content, list) else [{"text": content}]
        text = "".join([self._block(object_in(block)) for block in blocks])
        self._count(message.usage)
        self._end(message.stop_reason)
        self.done = True
        return text

    def _count(self, usage: Any) -> None:
        # Counts are cumulative, but servers leave out or zero earlier ones; input_tokens leaves out the tokens
        # that were read from the cache or written to it.
        if not isinstance(usage, dict):
            return

        before = self.usage or BilledUsage(input_tokens=0, output_tokens=0)
        read, written = count(usage.get("cache_read_input_tokens")), count(usage.get("cache_creation_input_tokens"))
        output = max(before.output_tokens, count(usage.get("output_tokens")))
        thought = count(object_in(usage.get("output_tokens_details")).get("thinking_tokens"))
        thoughts = reasoning(thought) if thought else before.reasoning_tokens
        asked = count(usage.get("input_tokens")) + read + written
        if usage.get("input_tokens") is None or asked < before.input_tokens:
            self.usage = msgspec.structs.replace(before, output_tokens=output, reasoning_tokens=thoughts)
            return

        self.usage = BilledUsage(
            input_tokens=asked,
            output_tokens=output,
            cached_tokens=read,
            cache_write_tokens=written,
            cache_write_1h_tokens=count(object_in(usage.get("cache_creation")).get("ephemeral_1h_input_tokens")),
            reasoning_tokens=thoughts,
        )
