"""What every provider of text is to the worker: one protocol, and the errors it may raise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

import msgspec

from shared.job import JobError, ParameterValue, RetryReason, Usage


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at one job, as a provider sees it."""

    job_id: str
    attempt: int
    prompt: str
    parameters: Mapping[str, ParameterValue]
    model: str
    max_tokens: int | None = None
    temperature: float | None = None


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """The last item of a stream that ended as it should. `cost_usd` None: unknown."""

    usage: Usage
    finish_reason: str
    cost_usd: float | None = None
    metadata: dict[str, object] | None = None


class Provider(Protocol):
    """Streams text. Must be safe to call many times at once and to cancel at any await."""

    def stream(self, request: GenerationRequest) -> AsyncIterator[str | Completion]:
        """Pieces of text, then one `Completion`. A stream that ends without one counts as broken.

        Raises `ProviderError`; whatever else it raises counts as an internal error and is retried.
        """
        ...


class ProviderError(Exception):
    """An attempt failed in a way the provider knows. `error` is in our own words and safe to show.

    `retry_after_s`: the provider's own wish; None: back off. `reason`: what the `retrying` event says.
    """

    def __init__(
        self, error: JobError, *, retry_after_s: float | None = None, reason: RetryReason = RetryReason.ERROR
    ) -> None:
        super().__init__(error.type)
        self.error = error
        self.retry_after_s = retry_after_s
        self.reason = reason
