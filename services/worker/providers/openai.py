"""OpenAI's chat completions, and every server that speaks them (Ollama, vLLM, LiteLLM, OpenRouter, Azure).

Chat completions and not Responses: the compatible servers have only those.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import openai

from services.worker.providers import Access, Completion, GenerationRequest, Item
from services.worker.providers.failures.classification import CallFailure, classify
from services.worker.providers.http.client import Briefing, fault_of, new_http_client, reported
from services.worker.providers.model_facts import Model, Thinking, openai_model
from services.worker.providers.pricing.prices import cost_of, price_list
from services.worker.providers.replies.openai_chunks import ChatReply
from services.worker.providers.replies.stream_reader import read_answer
from services.worker.providers.requests import dialects
from services.worker.providers.requests.adjustments import Adjustments
from services.worker.providers.requests.base_urls import read_address
from services.worker.providers.requests.drafts import Draft, Sent, cut, left_out
from services.worker.providers.requests.structured import in_words, response_format
from services.worker.providers.usage import usage_of_answer
from shared.job import Usage

BASE_URL: Final = "https://api.openai.com/v1"
_OWN_HOSTS: Final = (".openai.com", ".openai.azure.com")


class OpenAIProvider:
    """Streams from one base URL with one key; one instance per process, made inside the running loop.

    `briefing` turns a job's parameters into the system prompt. A model's name decides which parameters it gets
    (`model_facts.py`); those its server still refuses are repaired and remembered (`adjustments.py`).

    `max_tokens` goes out as `max_completion_tokens` to OpenAI and Azure, whose newer models take nothing else, and as
    `max_tokens` to all others, many of which know nothing else. Finish reasons: `finish_reasons.py`.
    """

    gated = True

    def __init__(self, access: Access, briefing: Briefing) -> None:
        self._access = access
        self._address = read_address(access.base_url or BASE_URL, "openai")
        host = urlsplit(self._address.base_url).hostname or ""
        self._own = host.endswith(_OWN_HOSTS)
        self._names_end_users = self._own if access.names_end_users is None else access.names_end_users
        self._price_list = price_list(access, self._address.base_url, "openai")
        self._briefing = briefing
        self._adjustments = Adjustments(access.name or "openai")
        self._http = new_http_client(access)
        self._client = openai.AsyncOpenAI(
            # Servers without keys still require a header, and the SDK refuses an empty key.
            api_key=access.api_key or "none",
            base_url=self._address.base_url,
            default_query=self._address.query,
            max_retries=0,
            timeout=self._http.timeout,
            http_client=self._http,
        )
        # Overrides the headers that the SDK took from the environment: the settings alone decide on headers.
        self._client.organization = self._client.project = None
        self._client._custom_headers = {}
        self.rekey(access.api_key)

    def _draft(self, request: GenerationRequest) -> Draft:
        brief = self._briefing(request.parameters)
        sent: dict[str, Any] = {
            "model": request.model,
            "messages": dialects.chat(request, brief.system, has_developers=self._own),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        model = openai_model(request.model)
        # A platform's limit is that of one text, and a result of many has no platform.
        limit = request.max_tokens or (None if request.response_schema is not None else brief.max_tokens)
        self._set_options(sent, request, model, limit)
        if request.response_schema is not None:
            sent["response_format"] = response_format(request.response_schema)
        if request.end_user is not None and self._names_end_users:
            sent["safety_identifier"] = request.end_user
        draft = Draft(sent, left_out(request, sent), cut(request, model), in_words=in_words(request))
        if request.mismatch:
            draft.write_schema()
        self._adjustments.prepare(request.model, draft)
        return draft

    def _set_options(self, sent: Sent, request: GenerationRequest, model: Model, limit: int | None) -> None:
        """Set effort, token limit and temperature, as far as the model takes them."""
        effort = model.effort(request.effort)
        if effort is not None:
            sent["reasoning_effort"] = effort
        elif model.thinking is Thinking.BY_DEFAULT:
            sent["reasoning_effort"] = "none"

        if limit is not None:
            sent["max_completion_tokens" if self._own else "max_tokens"] = model.limit(limit, effort)
        if request.temperature is not None and model.takes_temperature(effort):
            sent["temperature"] = request.temperature

    async def stream(self, request: GenerationRequest) -> AsyncIterator[Item]:
        """See `Provider`. A piece of text is the content of one read of the socket."""
        draft = self._draft(request)
        while True:
            reply = ChatReply(self._access.think_tags)
            try:
                async with self._client.chat.completions.with_streaming_response.create(
                    **draft.sent, extra_headers=self._headers
                ) as response:
                    self._adjustments.answered(request.model, draft)
                    answer: Any = read_answer(response.http_response, reply)
                    async with aclosing(answer):
                        async for item in answer:
                            yield item
                break
            except openai.APIStatusError as error:
                refusal = classify(reported(error.body, status=error.status_code, headers=error.response.headers))
                if not self._adjustments.repaired(draft, refusal, error.status_code, error.body):
                    raise refusal from None
            except (openai.APIConnectionError, httpx2.HTTPError) as error:
                cause = error.__cause__ if isinstance(error, openai.APIError) else error
                raise classify(CallFailure(fault=fault_of(cause))) from None
        yield self._completion(draft, reply)

    @staticmethod
    def _completion(draft: Draft, reply: ChatReply) -> Completion:
        asked = sum(len(message["content"]) for message in draft.sent["messages"])
        return Completion(
            usage=usage_of_answer(reply.usage, asked, reply.size, reply.thought),
            finish_reason=reply.finish_reason,
            metadata=draft.metadata,
            repairs=draft.repairs,
        )

    def cost(self, model: str, usage: Usage) -> int | None:
        """See `Provider`."""
        return cost_of(self._access, "openai", self._price_list, model, usage)

    def rekey(self, key: str) -> None:
        """Use another key from the next call on, and send refused parameters again."""
        self._client.api_key = key or "none"
        # Azure takes a key in this header alone; as a bearer it would be a token of its directory.
        self._headers: Any = {"api-key": key, "Authorization": openai.Omit()} if key and self._address.azure else None
        self._adjustments.forget()

    async def aclose(self) -> None:
        """See `Provider`."""
        await self._http.aclose()
