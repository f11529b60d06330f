"""Anthropic's messages, and every server that speaks them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

import anthropic
import httpx2

from services.worker.accounting import usage_of_answer
from services.worker.providers import Access, Completion, GenerationRequest, Thought
from services.worker.providers.answers import read_answer
from services.worker.providers.anthropic_answers import MessageReply
from services.worker.providers.failures import CallFailure, classify
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


class AnthropicProvider:
    """Streams from one base URL with one key; one instance per process, made inside the running loop.

    `briefing` turns a job's parameters into the system prompt. No temperature is ever sent: from version 2026-10-21
    on, which the SDK speaks, the API refuses it for every model. Models that think only unless told not to are told not
    to; those that always think get `THINKING_TOKENS` on top of a token limit. Finish reasons: `finishes.py`.
    """

    gated = True

    def __init__(self, access: Access, briefing: Briefing) -> None:
        url, key = access.base_url or BASE_URL, access.api_key or "none"
        own = urlsplit(url).hostname == urlsplit(BASE_URL).hostname
        self._priced = own if access.priced is None else access.priced
        self._briefing = briefing
        self._think_tags = access.think_tags
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

    async def stream(self, request: GenerationRequest) -> AsyncIterator[str | Usage | Thought | Completion]:
        """See `Provider`. The pieces of text are what one read of the socket brought."""
        arguments, reply = self._arguments(request), MessageReply(self._think_tags)
        try:
            async with self._client.messages.with_streaming_response.create(**arguments) as response:
                answer: Any = read_answer(response.http_response, reply)
                async with aclosing(answer):
                    async for item in answer:
                        yield item
        except anthropic.APIStatusError as error:
            raise classify(reported(error.body, status=error.status_code, headers=error.response.headers)) from None
        except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
            cause = error.__cause__ if isinstance(error, anthropic.APIError) else error
            raise classify(CallFailure(fault=fault_of(cause))) from None
        yield self._completion(request, arguments, reply)

    @staticmethod
    def _completion(request: GenerationRequest, arguments: dict[str, Any], reply: MessageReply) -> Completion:
        asked = len(arguments.get("system", "") + request.prompt)
        return Completion(
            usage=usage_of_answer(reply.usage, asked, reply.size, reply.thought),
            finish_reason=reply.finish_reason,
            metadata=None if request.temperature is None else {"ignored": ["temperature"]},
        )

    def cost(self, model: str, usage: Usage) -> int | None:
        """See `Provider`."""
        return cost_nano_usd("anthropic", model, usage) if self._priced else None

    async def aclose(self) -> None:
        """See `Provider`."""
        await self._http.aclose()
