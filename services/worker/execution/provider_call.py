"""One call of one provider: streams its text into the job's log and watches how long it is silent."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import msgspec

from services.worker.execution.attempt import Interrupted, StopSignal
from services.worker.execution.code_fence import CodeFence
from services.worker.execution.delta_writer import DeltaWriter
from services.worker.providers import Action, Completion, GenerationRequest, Provider, ProviderError, Thought, Whole
from shared.job import JobError, Usage


class SilenceLimits(msgspec.Struct, frozen=True):
    """Longest silences of a provider, in s: before its first text, and between two pieces of it; and the longest time
    it may think at a stretch without writing any. A thought breaks the silence."""

    first_token_s: float
    token_gap_s: float
    thinking_s: float = math.inf


def _silence(*, began: bool, thought: bool) -> ProviderError:
    if thought:
        error = JobError(type="ThinkingTimeout", message="the provider thought for too long", retryable=True)
    elif began:
        error = JobError(type="StreamStalled", message="the provider stopped in the middle of its text", retryable=True)
    else:
        error = JobError(type="FirstTokenTimeout", message="the provider did not begin to answer", retryable=True)
    return ProviderError(error, Action.RETRY)


class ProviderCall:
    """A call under way. `usage`: as the provider reported it so far. `thought`: characters of thought. `began`: it has
    written text. `silent`: it was cut because it said nothing for too long, or only thought.

    `on_first` is called once, with the first piece of text.
    """

    def __init__(
        self, signal: StopSignal, deltas: DeltaWriter, limits: SilenceLimits, on_first: Callable[[], None]
    ) -> None:
        self._signal = signal
        self._deltas = deltas
        self._limits = limits
        self._on_first = on_first
        self.silent = False
        self._received_at = time.monotonic()
        self._thinks_since: float | None = None
        self._whole = False
        self._overthought = False
        self._fence: CodeFence | None = None
        self.usage: Usage | None = None
        self.thought = 0
        self.began = False

    async def complete(self, provider: Provider, request: GenerationRequest, ends_at: float) -> Completion:
        """Stream to the end, at most until `ends_at` (monotonic, s). ProviderError also when the stream ended too early
        or fell silent. Interrupted when the attempt is to stop or its time is over.

        A JSON text is taken out of a code fence, which the metadata of its completion reports.
        """
        self._fence = CodeFence() if request.response_schema is not None else None
        try:
            with self._signal.step(ends_at, stoppable=True, watch=self._overdue):
                # Read here, and not in a coroutine of its own: each piece would pass through it.
                stream: Any = provider.stream(request)
                try:
                    async for item in stream:
                        if isinstance(item, Completion):
                            return self._end(item)
                        self._take(item)
                finally:
                    await stream.aclose()
        except Interrupted:
            if not self.silent or self._signal.reason is not None:
                raise
            raise self.silence from None

        raise ProviderError(
            JobError(type="StreamTruncated", message="the provider's stream ended too early", retryable=True),
            Action.RETRY,
        )

    @property
    def silence(self) -> ProviderError:
        """The error of a call that was silent, or thought, for too long."""
        return _silence(began=self.began, thought=self._overthought)

    def _take(self, item: str | Usage | Thought | Whole) -> None:
        if isinstance(item, str):
            if item:
                self._write(item)
        elif isinstance(item, Usage):
            self.usage = item
        elif isinstance(item, Thought):
            self._think(item)
        else:
            self._whole = True

    def _write(self, text: str) -> None:
        self._received_at = time.monotonic()
        self._thinks_since = None
        if not self.began:
            self.began = True
            self._on_first()
        self._deltas.push(text if self._fence is None else self._fence.feed(text))

    def _end(self, completion: Completion) -> Completion:
        fence = self._fence
        if fence is None:
            return completion
        self._deltas.push(fence.rest())
        if not fence.opened:
            return completion
        return msgspec.structs.replace(completion, metadata={**(completion.metadata or {}), "unwrapped": True})

    def _think(self, thought: Thought) -> None:
        self.thought += thought.characters
        self._received_at = time.monotonic()
        if self._thinks_since is None:
            self._thinks_since = self._received_at

    def _overdue(self, now_s: float) -> bool:
        """Whether the stream is to be cut: it was silent or thought for too long, or its text cannot be logged.

        A whole answer is cut by its own reader alone, which waits for the usage for a bounded time.
        """
        if self._whole:
            return self._deltas.check(now_s)
        limit = self._limits.token_gap_s if self.began else self._limits.first_token_s
        thinks_since = now_s if self._thinks_since is None else self._thinks_since
        self._overthought = now_s - thinks_since >= self._limits.thinking_s
        self.silent = self._overthought or now_s - self._received_at >= limit
        return self.silent or self._deltas.check(now_s)
