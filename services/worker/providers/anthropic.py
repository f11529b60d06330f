"""Anthropic's messages, and every server that speaks them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

import anthropic
import httpx2

from services.worker.providers import Access, Completion, GenerationRequest, Item
from services.worker.providers.failures.classification import CallFailure, classify
from services.worker.providers.http.client import Briefing, fault_of, new_http_client, reported
from services.worker.providers.model_facts import Model, Thinking, anthropic_model
from services.worker.providers.pricing.prices import cost_of, price_list
from services.worker.providers.replies.anthropic_events import MessageReply
from services.worker.providers.replies.stream_reader import read_answer
from services.worker.providers.requests import dialects
from services.worker.providers.requests.adjustments import Adjustments
from services.worker.providers.requests.base_urls import read_address
from services.worker.providers.requests.drafts import Draft, Fix, Sent, cut, left_out
from services.worker.providers.requests.structured import in_words, is_closable
from services.worker.providers.usage import usage_of_answer
from shared.job import Usage

BASE_URL: Final = "https://api.anthropic.com"

DEFAULT_MAX_TOKENS: Final = 2048
"""Token limit when neither the job nor its platform has one: the API requires it. About 1,500 words."""

STRUCTURED_MAX_TOKENS: Final = 8192
"""The same for a result that is made to a schema, which may hold many texts."""


def _thinking(model: Model, effort: str | None) -> Sent:
    """The arguments that set a model's thinking; None: as little as it can."""
    if effort is None:
        return {"thinking": {"type": model.off}} if model.thinking is Thinking.BY_DEFAULT else {}
    adaptive = {"thinking": {"type": "adaptive"}} if model.thinking is Thinking.ON_DEMAND else {}
    return {"output_config": {"effort": effort}} | adaptive


def _usual_limit(request: GenerationRequest, briefed: int | None) -> int:
    """The token limit of a job that has none."""
    return STRUCTURED_MAX_TOKENS if request.response_schema is not None else briefed or DEFAULT_MAX_TOKENS


def _structure(draft: Draft, request: GenerationRequest) -> None:
    """Ask for a result that fits the job's schema: in the API's own form if that can say it, else in words.

    The API takes no bounds of texts and numbers: the SDK's form has them in descriptions. The whole schema is checked
    in the end.
    """
    if request.response_schema is None:
        return
    written = _written_for_api(request.response_schema)
    asked = {"type": "json_schema", "schema": written or request.response_schema}
    draft.sent["output_config"] = {**draft.sent.get("output_config", {}), "format": asked}
    if written is None:
        draft.apply(Fix("words", "response_format", lasting=False))
    if request.mismatch:
        draft.write_schema()


def _written_for_api(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The schema as the API takes it; None when it cannot say the same."""
    if not is_closable(schema):
        return None
    try:
        return anthropic.transform_schema(schema)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError):
        return None


class AnthropicProvider:
    """Streams from one base URL with one key; one instance per process, made inside the running loop.

    `briefing` turns a job's parameters into the system prompt. No temperature is ever sent: from version 2026-10-21
    on, which the SDK speaks, the API refuses it for every model. Models that think by default are asked not to;
    those that always think do so with little effort, unless the job asks for more, and get room for it on top of a
    token limit. Parameters that a server still refuses are repaired and remembered (`adjustments.py`). Finish
    reasons: `finish_reasons.py`.
    """

    gated = True

    def __init__(self, access: Access, briefing: Briefing) -> None:
        self._access = access
        address = read_address(access.base_url or BASE_URL, "anthropic")
        self._own = urlsplit(address.base_url).hostname == urlsplit(BASE_URL).hostname
        self._names_end_users = self._own if access.names_end_users is None else access.names_end_users
        self._price_list = price_list(access, address.base_url, "anthropic")
        self._briefing = briefing
        self._adjustments = Adjustments(access.name or "anthropic")
        self._http = new_http_client(access)
        self._client = anthropic.AsyncAnthropic(
            # Any key at all keeps the SDK from looking for one in the environment and in files.
            api_key=access.api_key or "none",
            base_url=address.base_url,
            default_query=address.query,
            max_retries=0,
            timeout=self._http.timeout,
            http_client=self._http,
            # Its spans could be configured to carry prompts.
            open_telemetry=False,
        )
        self.rekey(access.api_key)

    def _draft(self, request: GenerationRequest) -> Draft:
        brief, model = self._briefing(request.parameters), anthropic_model(request.model)
        effort = model.effort(request.effort)
        limit = request.max_tokens or _usual_limit(request, brief.max_tokens)
        system, messages = dialects.anthropic(request, brief.system)
        sent: dict[str, Any] = {
            "model": request.model,
            "messages": messages,
            "max_tokens": model.limit(limit, effort),
            "stream": True,
        }
        if system:
            sent["system"] = system
        sent |= _thinking(model, effort)
        if request.end_user is not None and self._names_end_users:
            sent["metadata"] = {"user_id": request.end_user}
        draft = Draft(
            sent, left_out(request, sent), cut(request, model), limit_required=True, in_words=in_words(request)
        )
        _structure(draft, request)
        self._adjustments.prepare(request.model, draft)
        return draft

    async def stream(self, request: GenerationRequest) -> AsyncIterator[Item]:
        """See `Provider`. A piece of text is the content of one read of the socket."""
        draft = self._draft(request)
        while True:
            reply = MessageReply(self._access.think_tags)
            try:
                async with self._client.messages.with_streaming_response.create(**draft.sent) as response:
                    self._adjustments.answered(request.model, draft)
                    answer: Any = read_answer(response.http_response, reply)
                    async with aclosing(answer):
                        async for item in answer:
                            yield item
                break
            except anthropic.APIStatusError as error:
                refusal = classify(reported(error.body, status=error.status_code, headers=error.response.headers))
                if not self._adjustments.repaired(draft, refusal, error.status_code, error.body):
                    raise refusal from None
            except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
                cause = error.__cause__ if isinstance(error, anthropic.APIError) else error
                raise classify(CallFailure(fault=fault_of(cause))) from None
        yield self._completion(draft, reply)

    @staticmethod
    def _completion(draft: Draft, reply: MessageReply) -> Completion:
        asked = len(draft.sent.get("system", "")) + sum(len(message["content"]) for message in draft.sent["messages"])
        return Completion(
            usage=usage_of_answer(reply.usage, asked, reply.size, reply.thought),
            finish_reason=reply.finish_reason,
            metadata=draft.metadata,
            repairs=draft.repairs,
        )

    def cost(self, model: str, usage: Usage) -> int | None:
        """See `Provider`."""
        return cost_of(self._access, "anthropic", self._price_list, model, usage)

    def rekey(self, key: str) -> None:
        """Use another key from the next call on, and send refused parameters again."""
        self._client.api_key = key or "none"
        # Overrides the headers that the SDK took from the environment: the settings alone decide on headers. The key
        # is sent as a bearer token; compatible servers may know its old header only.
        self._client._custom_headers = {} if self._own else {"x-api-key": key or "none"}
        self._adjustments.forget()

    async def aclose(self) -> None:
        """See `Provider`."""
        await self._http.aclose()
