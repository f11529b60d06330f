"""Anthropic's messages, and every server that speaks them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

import anthropic
import httpx2
import msgspec

from services.worker.accounting import usage_of_answer
from services.worker.providers import Access, BilledUsage, Completion, GenerationRequest
from services.worker.providers.answers import UNREADABLE, Finish, count, read_answer
from services.worker.providers.failures import CallFailure, Fault, classify
from services.worker.providers.models import (
    THINKING_TOKENS,
    anthropic_can_stop_thinking,
    anthropic_thinks,
)
from services.worker.providers.prices import cost_nano_usd, load_prices
from services.worker.providers.wire import Briefing, fault_of, new_http_client, reported
from shared.job import Usage

BASE_URL: Final = "https://api.anthropic.com"

DEFAULT_MAX_TOKENS: Final = 2048
"""The limit when neither the job nor its platform says one: the API wants one. About 1,500 words."""


class _CacheCreation(msgspec.Struct):
    ephemeral_1h_input_tokens: int | None = None


class _Counts(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None


class _Message(msgspec.Struct):
    usage: _Counts | None = None


class _Delta(msgspec.Struct):
    text: str | None = None
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str
    message: _Message | None = None
    delta: _Delta | None = None
    usage: _Counts | None = None
    error: Any = None


class _Type(msgspec.Struct):
    type: str


_FINISHES: Final = {
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "refusal": Finish.REFUSED,
}
_events: Final = msgspec.json.Decoder(_Event)
_types: Final = msgspec.json.Decoder(_Type)
_KNOWN: Final = frozenset({"message_start", "content_block_delta", "message_delta", "message_stop", "error"})


class _Reply:
    """What has come of one answer."""

    def __init__(self) -> None:
        self.size = 0
        self.usage: Usage | None = None
        self.finish: Finish | None = None
        self.done = False

    def take(self, data: bytes) -> str:
        """Take one event; answers its text. ProviderError when it reports an error or cannot be read."""
        try:
            # The API may add events at any time ("Versioning"): what has another shape must not be read as ours.
            if _types.decode(data).type not in _KNOWN:
                return ""
            event = _events.decode(data)
        except UNREADABLE:
            raise classify(CallFailure(fault=Fault.MALFORMED)) from None
        if event.type == "error":
            # The status was 200 long before: only the type says what it is.
            raise classify(reported(event.error))
        if event.type == "message_start" and event.message is not None and event.message.usage is not None:
            self._count(event.message.usage)
        elif event.type == "message_delta":
            if event.usage is not None:
                self._count(event.usage)
            if event.delta is not None and event.delta.stop_reason:
                self.finish = _FINISHES.get(event.delta.stop_reason, Finish.STOP)
        elif event.type == "content_block_delta" and event.delta is not None and event.delta.text:
            self.size += len(event.delta.text)
            return event.delta.text
        self.done = self.done or event.type == "message_stop"
        return ""

    def _count(self, counts: _Counts) -> None:
        # Counts are cumulative, but servers leave out or zero what they told before; input_tokens leaves out what the
        # cache was read or written for.
        before = self.usage or BilledUsage(input_tokens=0, output_tokens=0)
        read, written = count(counts.cache_read_input_tokens), count(counts.cache_creation_input_tokens)
        output = max(before.output_tokens, count(counts.output_tokens))
        asked = count(counts.input_tokens) + read + written
        if counts.input_tokens is None or asked < before.input_tokens:
            self.usage = msgspec.structs.replace(before, output_tokens=output)
            return
        self.usage = BilledUsage(
            input_tokens=asked,
            output_tokens=output,
            cached_tokens=read,
            cache_write_tokens=written,
            cache_write_1h_tokens=count((counts.cache_creation or _CacheCreation()).ephemeral_1h_input_tokens),
        )


class AnthropicProvider:
    """Streams from one base URL with one key; one instance per process, made inside the running loop.

    `briefing` turns a job's parameters into the system prompt. No temperature is ever sent: from version 2026-10-21
    on, which the SDK speaks, the API refuses it for every model. Models that think only unless told not to are told not
    to; those that always think get `THINKING_TOKENS` on top of a token limit. Finish reasons are `stop` (also at a stop
    sequence) and `length` (the token limit or the end of the context).
    """

    gated = True

    def __init__(self, access: Access, briefing: Briefing) -> None:
        url, key = access.base_url or BASE_URL, access.api_key or "none"
        own = urlsplit(url).hostname == urlsplit(BASE_URL).hostname
        self._priced = own if access.priced is None else access.priced
        self._briefing = briefing
        self._http = new_http_client(access)
        self._client = anthropic.AsyncAnthropic(
            # Any key at all keeps the SDK from looking for one in the environment and in files.
            api_key=key,
            base_url=url,
            max_retries=0,
            timeout=self._http.timeout,
            http_client=self._http,
            # Its spans could be told to carry prompts.
            open_telemetry=False,
        )
        # Instead of what the SDK took from the environment all the same; the settings alone say what goes out. The key
        # is sent as a bearer token; compatible servers may know its old header only.
        self._client._custom_headers = {} if own else {"x-api-key": key}
        if self._priced:
            load_prices()

    def _arguments(self, request: GenerationRequest) -> dict[str, Any]:
        brief = self._briefing(request.parameters)
        limit = request.max_tokens or brief.max_tokens or DEFAULT_MAX_TOKENS
        arguments: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": "user", "content": request.prompt}],
            "max_tokens": limit + (THINKING_TOKENS if anthropic_thinks(request.model) else 0),
            "stream": True,
        }
        if brief.system:
            arguments["system"] = brief.system
        if anthropic_can_stop_thinking(request.model):
            arguments["thinking"] = {"type": "disabled"}
        return arguments

    async def stream(self, request: GenerationRequest) -> AsyncIterator[str | Usage | Completion]:
        """See `Provider`. The pieces of text are what one read of the socket brought."""
        arguments, reply = self._arguments(request), _Reply()
        try:
            async with self._client.messages.with_streaming_response.create(**arguments) as response:
                answer: Any = read_answer(response.http_response, reply)
                async with aclosing(answer):
                    async for item in answer:
                        yield item
        except anthropic.APIStatusError as error:
            body = error.body.get("error") if isinstance(error.body, dict) else error.body
            raise classify(reported(body, status=error.status_code, headers=error.response.headers)) from None
        except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
            cause = error.__cause__ if isinstance(error, anthropic.APIError) else error
            raise classify(CallFailure(fault=fault_of(cause))) from None
        yield self._completion(request, arguments, reply)

    @staticmethod
    def _completion(request: GenerationRequest, arguments: dict[str, Any], reply: _Reply) -> Completion:
        asked = len(arguments.get("system", "") + request.prompt)
        return Completion(
            usage=usage_of_answer(reply.usage, asked, reply.size),
            finish_reason="length" if reply.finish is Finish.LENGTH else "stop",
            metadata=None if request.temperature is None else {"ignored": ["temperature"]},
        )

    def cost(self, model: str, usage: Usage) -> int | None:
        """See `Provider`."""
        return cost_nano_usd("anthropic", model, usage) if self._priced else None

    async def aclose(self) -> None:
        """See `Provider`."""
        await self._http.aclose()
