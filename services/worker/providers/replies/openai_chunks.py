"""Reads chat completions, streamed or whole, as OpenAI and the servers that speak like it write them.

Only required fields have a type: any other field with an unexpected value is ignored, the answer is kept. Sources:
OpenAI "Chat" and "Responses" (API references); `reasoning_content` of DeepSeek, `reasoning` and `reasoning_details` of
vLLM and OpenRouter, `thinking` parts of Mistral, `extra_content` of Gemini, `usage` in a choice of Moonshot, `x_groq`
of Groq.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from services.worker.providers import BilledUsage
from services.worker.providers.failures.classification import classify
from services.worker.providers.http.client import reported
from services.worker.providers.replies.reply import UNREADABLE, Reply, count, is_over, object_in, text_in
from shared.job import reasoning

HIDDEN_MAX: Final = 1 << 18
"""Tokens of thought that a total may have beyond the sum of its parts: a larger difference is taken for a mistake."""


class _Delta(msgspec.Struct):
    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    thinking: Any = None
    extra_content: Any = None


class _Choice(msgspec.Struct):
    # PHP writes an object without fields as a list.
    delta: _Delta | list[Any] | None = None
    message: _Delta | list[Any] | None = None
    finish_reason: Any = None
    native_finish_reason: Any = None
    index: Any = None
    usage: Any = None
    error: Any = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice | None] | None = None
    usage: Any = None
    error: Any = None
    object: Any = None


class _Rare(msgspec.Struct):
    """Fields of an event without choices. A struct of their own, because each field costs time at every token."""

    errors: Any = None
    detail: Any = None
    message: Any = None
    type: Any = None
    delta: Any = None
    response: Any = None
    x_groq: Any = None
    base_resp: Any = None


_chunks: Final = msgspec.json.Decoder(_Chunk)
_rare: Final = msgspec.json.Decoder(_Rare)


class ChatReply(Reply):
    """Content of one chat completion so far. Of several choices the first that is seen counts."""

    _choice: Any = None

    def take(self, data: bytes) -> str:
        """See `Reply`."""
        if data[0] != 0x7B and is_over(data):
            self.done = True
            return ""
        try:
            chunk = _chunks.decode(data)
        except UNREADABLE:
            return "".join([self._take(chunk, data) for chunk in self._reread(_chunks, data)])
        return self._take(chunk, data)

    def _take(self, chunk: _Chunk, data: bytes) -> str:
        if chunk.error is not None or chunk.object == "error":
            # vLLM sends the error as the whole event.
            raise classify(reported(data))

        if chunk.usage is not None:
            self._count(chunk.usage)
        if chunk.choices is None:
            return self._without_choices(data)

        text = ""
        for choice in chunk.choices:
            if choice is not None:
                text += self._read_choice(choice)
        return text

    def _read_choice(self, choice: _Choice) -> str:
        index, text = choice.index or 0, ""
        if index != self._choice:
            if self._choice is not None:
                return ""
            self._choice = index

        if isinstance(choice.delta, _Delta):
            text = self._read(choice.delta)
        elif isinstance(choice.message, _Delta) and not self.size:
            # Some send the whole message again at the end of its stream.
            text = self._read(choice.message)
        if choice.error is not None:
            raise classify(reported(choice.error))
        if choice.finish_reason is not None:
            self._finish(choice)
        return text

    def _finish(self, choice: _Choice) -> None:
        if choice.usage is not None:
            self._count(choice.usage)
        self._end(choice.finish_reason, choice.native_finish_reason)

    def _read(self, delta: _Delta) -> str:
        """The text of a delta or a message."""
        if delta.reasoning_content or delta.reasoning or delta.reasoning_details or delta.thinking:
            self._think(_thought_in(delta))
        if delta.refusal:
            self.declined = True
        content = delta.content
        if not content:
            return ""
        if isinstance(content, str) and delta.extra_content is None:
            return self._say(content)
        return self._read_parts(delta)

    def _read_parts(self, delta: _Delta) -> str:
        content = delta.content
        if object_in(object_in(delta.extra_content).get("google")).get("thought") is True:
            self._think(text_in(content))
            return ""

        parts = content if isinstance(content, list) else [content]
        plain = []
        for part in parts:
            kind = object_in(part).get("type")
            if kind in ("thinking", "reasoning"):
                self._think(text_in(part, "thinking", "reasoning"))
            elif kind == "refusal":
                self.declined = True
            else:
                plain.append(part)
        return self._say(text_in(plain))

    def _without_choices(self, data: bytes) -> str:
        try:
            event = _rare.decode(data)
        except UNREADABLE:
            return "".join([self._take_rare(event, data) for event in self._reread(_rare, data)])
        return self._take_rare(event, data)

    def _take_rare(self, event: _Rare, data: bytes) -> str:
        errors = (event.errors, event.detail, event.message, object_in(event.base_resp).get("status_code") or None)
        if event.type == "error" or any(one is not None for one in errors):
            raise classify(reported(data))
        if event.x_groq is not None:
            self._count(object_in(event.x_groq).get("usage"))
        return self._take_response(event, data) if isinstance(event.type, str) else ""

    def _take_response(self, event: _Rare, data: bytes) -> str:
        """An event of OpenAI's Responses, which some gateways answer with."""
        _, _, kind = str(event.type).partition("response.")
        if kind.startswith("reasoning"):
            self._think(text_in(event.delta))
        elif kind == "refusal.delta":
            self.declined = True
        elif kind == "output_text.delta":
            return self._say(text_in(event.delta))
        elif kind in ("completed", "incomplete", "failed"):
            response = object_in(event.response)
            if response.get("error") is not None:
                raise classify(reported(data))
            self._count(response.get("usage"))
            self._end(object_in(response.get("incomplete_details")).get("reason") or response.get("status") or kind)
        return ""

    def _count(self, reported_usage: Any) -> None:
        counts = object_in(reported_usage)
        details = object_in(counts.get("prompt_tokens_details") or counts.get("input_tokens_details"))
        made_details = object_in(counts.get("completion_tokens_details") or counts.get("output_tokens_details"))
        asked = count(counts.get("prompt_tokens", counts.get("input_tokens")))
        made = count(counts.get("completion_tokens", counts.get("output_tokens")))
        thought = count(made_details.get("reasoning_tokens"))
        # xAI and Gemini leave thoughts out of the output tokens, and count them in the total alone.
        hidden = count(counts.get("total_tokens")) - asked - made if asked and made else 0
        if 0 < hidden <= HIDDEN_MAX and thought in (0, hidden):
            made, thought = made + hidden, hidden
        # Some count as they go, and a later report may lack fields of an earlier one.
        before = self.usage or BilledUsage(input_tokens=0, output_tokens=0)
        asked, made = asked or before.input_tokens, made or before.output_tokens
        cached = count(details.get("cached_tokens", counts.get("prompt_cache_hit_tokens")))
        self.usage = BilledUsage(
            input_tokens=asked,
            output_tokens=made,
            cached_tokens=min(cached, asked),  # a part is never more than its whole
            cache_write_tokens=count(details.get("cache_write_tokens")),
            reasoning_tokens=reasoning(min(thought, made)),
        )


def _thought_in(delta: _Delta) -> str:
    """The thought in a delta. Some servers send it twice, under two names."""
    for thought in (delta.reasoning_content, delta.reasoning, delta.thinking, delta.reasoning_details):
        if text := text_in(thought, "summary", "content", "thinking"):
            return text
    return ""
