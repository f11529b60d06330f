"""The two adapters as tests make them, and one call collected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from services.worker.providers import Access, Completion, GenerationRequest, Provider, ProviderError, Thought, Whole
from services.worker.providers.anthropic import AnthropicProvider
from services.worker.providers.http.client import Briefing
from services.worker.providers.openai import OpenAIProvider
from shared.job import ParameterValue, Usage

BOTH = ("openai", "anthropic")
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}
SYSTEM = "Write for a feed."


class Brief(msgspec.Struct, frozen=True):
    """A brief that ignores the parameters."""

    system: str = SYSTEM
    max_tokens: int | None = None


def briefing(_: Mapping[str, ParameterValue]) -> Brief:
    """The same brief for every job."""
    return Brief()


def request(name: str, **changes: Any) -> GenerationRequest:
    """A plain request to a model of this vendor, with changes."""
    plain: dict[str, Any] = {
        "job_id": "j",
        "attempt": 1,
        "prompt": "Write a post",
        "parameters": {},
        "model": MODELS[name],
    }
    return GenerationRequest(**(plain | changes))


@asynccontextmanager
async def open_provider(
    name: str, base_url: str, *, briefing: Briefing = briefing, **more: Any
) -> AsyncIterator[OpenAIProvider | AnthropicProvider]:
    """An adapter for the length of the block; `more`: fields of its `Access`."""
    arguments: dict[str, Any] = {"api_key": "key-of-a-test", "base_url": base_url, **more}
    adapter = OpenAIProvider if name == "openai" else AnthropicProvider
    provider = adapter(Access(**arguments), briefing)
    try:
        yield provider
    finally:
        await provider.aclose()


class Collected(msgspec.Struct):
    """Items of a call. Exactly one of `completion` and `error` is set."""

    text: str = ""
    thoughts: list[int] = []
    reported: list[Usage] = []
    whole: bool = False
    completion: Completion | None = None
    error: ProviderError | None = None

    @property
    def done(self) -> Completion:
        """The completion of a call that must have succeeded."""
        assert self.completion is not None, self.error
        return self.completion

    @property
    def failed(self) -> ProviderError:
        """The error of a call that must have failed."""
        assert self.error is not None, self.completion
        return self.error


async def collect(provider: Provider, wanted: GenerationRequest) -> Collected:
    """Make one call and take all of it."""
    seen = Collected()
    try:
        async for item in provider.stream(wanted):
            assert seen.completion is None, "nothing may follow a completion"
            if isinstance(item, str):
                seen.text += item
            elif isinstance(item, Thought):
                seen.thoughts.append(item.characters)
            elif isinstance(item, Usage):
                seen.reported.append(item)
            elif isinstance(item, Whole):
                seen.whole = True
            else:
                seen.completion = item
    except ProviderError as error:
        seen.error = error
    return seen
