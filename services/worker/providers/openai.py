"""OpenAI's chat completions, and every server that speaks them (Ollama, vLLM, LiteLLM, OpenRouter, Azure).

Chat completions and not Responses: it is what the compatible servers have.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import openai

from services.worker.accounting import usage_of_answer
from services.worker.providers import Access, Completion, GenerationRequest, Thought
from services.worker.providers.answers import read_answer
from services.worker.providers.failures import CallFailure, classify
from services.worker.providers.models import (
    THINKING_TOKENS,
    openai_can_stop_reasoning,
    openai_reasons,
)
from services.worker.providers.openai_answers import ChatReply
from services.worker.providers.prices import cost_nano_usd, load_prices
from services.worker.providers.wire import Briefing, fault_of, new_http_client, reported
from shared.job import Usage

BASE_URL: Final = "https://api.openai.com/v1"
_OWN_HOSTS: Final = (".openai.com", ".openai.azure.com")


class OpenAIProvider:
    """Streams from one base URL with one key; one instance per process, made inside the running loop.

    `briefing` turns a job's parameters into the system prompt.

    `max_tokens` goes out as `max_completion_tokens` to OpenAI and Azure, whose newer models take nothing else, and as
    `max_tokens` to all others, many of which know nothing else. Finish reasons: `finishes.py`.
    """

    gated = True

    def __init__(self, access: Access, briefing: Briefing) -> None:
        url = access.base_url or BASE_URL
        host = urlsplit(url).hostname or ""
        self._priced = host == urlsplit(BASE_URL).hostname if access.priced is None else access.priced
        self._own = host.endswith(_OWN_HOSTS)
        self._briefing = briefing
        self._think_tags = access.think_tags
        self._http = new_http_client(access)
        self._client = openai.AsyncOpenAI(
            # Servers without keys want some header all the same, and the SDK refuses an empty key.
            api_key=access.api_key or "none",
            base_url=url,
            max_retries=0,
            timeout=self._http.timeout,
            http_client=self._http,
        )
        # What the SDK took from the environment all the same; the settings alone say what goes out.
        self._client.organization = self._client.project = None
        self._client._custom_headers = {}
        if self._priced:
            load_prices()

    def _arguments(self, request: GenerationRequest) -> dict[str, Any]:
        brief = self._briefing(request.parameters)
        messages = [{"role": "system", "content": brief.system}] if brief.system else []
        arguments: dict[str, Any] = {
            "model": request.model,
            "messages": [*messages, {"role": "user", "content": request.prompt}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        reasons = self._own and openai_reasons(request.model)
        if self._own and openai_can_stop_reasoning(request.model):
            arguments["reasoning_effort"] = "none"
        limit = request.max_tokens or brief.max_tokens
        if limit is not None and self._own:
            arguments["max_completion_tokens"] = limit + (THINKING_TOKENS if reasons else 0)
        elif limit is not None:
            arguments["max_tokens"] = limit
        if request.temperature is not None and not reasons:
            arguments["temperature"] = request.temperature
        return arguments

    async def stream(self, request: GenerationRequest) -> AsyncIterator[str | Usage | Thought | Completion]:
        """See `Provider`. The pieces of text are what one read of the socket brought."""
        arguments, reply = self._arguments(request), ChatReply(self._think_tags)
        try:
            async with self._client.chat.completions.with_streaming_response.create(**arguments) as response:
                answer: Any = read_answer(response.http_response, reply)
                async with aclosing(answer):
                    async for item in answer:
                        yield item
        except openai.APIStatusError as error:
            raise classify(reported(error.body, status=error.status_code, headers=error.response.headers)) from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            cause = error.__cause__ if isinstance(error, openai.APIError) else error
            raise classify(CallFailure(fault=fault_of(cause))) from None
        yield self._completion(request, arguments, reply)

    @staticmethod
    def _completion(request: GenerationRequest, arguments: dict[str, Any], reply: ChatReply) -> Completion:
        asked = sum(len(message["content"]) for message in arguments["messages"])
        ignored = request.temperature is not None and "temperature" not in arguments
        return Completion(
            usage=usage_of_answer(reply.usage, asked, reply.size, reply.thought),
            finish_reason=reply.finish_reason,
            metadata={"ignored": ["temperature"]} if ignored else None,
        )

    def cost(self, model: str, usage: Usage) -> int | None:
        """See `Provider`."""
        return cost_nano_usd("openai", model, usage) if self._priced else None

    async def aclose(self) -> None:
        """See `Provider`."""
        await self._http.aclose()
