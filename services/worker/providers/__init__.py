"""Interface between the worker and every provider of text: one protocol, and the errors it may raise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

import msgspec

from shared.conversation import Turn
from shared.job import Effort, JobError, ParameterValue, Usage


class PriceBook(Protocol):
    """Prices that an operator gave, which come before any vendor's list."""

    def cost(self, gate: str, usage: Usage) -> int | None:
        """Cost of these tokens in nano-USD; None when no price was given for this `provider:model`."""


THINK_TAGS: Final = ("think", "thinking", "thought")
"""DeepSeek R1 and Qwen write the first where nothing before us parses it, Nova the second, Gemini the third."""


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Access to a vendor, or to another server that speaks its API.

    `name`: as PROVIDERS has it; empty: the vendor's. `base_url`: None for the vendor's own address. `priced`: whose
    price list holds there, by name; True: that of the server's own vendor, False: none; None: that of the vendor whose
    address it is. `proxy`: URL of an HTTP proxy. `read_timeout_s` is the last resort: the worker's own limits for the
    first token and between tokens are shorter, and know which of the two it was. `think_tags`: names of the tags in
    which a model may write its thoughts before its text. `names_end_users`: whether calls name their end user;
    None: to the vendors themselves.
    """

    api_key: str
    name: str = ""
    base_url: str | None = None
    priced: bool | str | None = None
    prices: PriceBook | None = None
    proxy: str | None = None
    read_timeout_s: float = 600.0
    think_tags: tuple[str, ...] = THINK_TAGS
    names_end_users: bool | None = None

    def __repr__(self) -> str:
        return "Access(...)"


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at one job, as a provider sees it. `turns`, `instructions`, `response_schema`: see `JobSpec`.
    `mismatch`: see `Claim`. `end_user`: a stable identifier that is no id of ours, for those servers that get
    one."""

    job_id: str
    attempt: int
    prompt: str
    parameters: Mapping[str, ParameterValue]
    model: str
    max_tokens: int | None = None
    temperature: float | None = None
    effort: Effort | None = None
    turns: Sequence[Turn] = ()
    instructions: str | None = None
    response_schema: dict[str, object] | None = None
    mismatch: str = ""
    end_user: str | None = None


class BilledUsage(Usage, frozen=True, kw_only=True):
    """Usage that a provider reported, with the counts on which only its price depends.

    `cache_write_tokens`: of `input_tokens`, those the provider put into its prompt cache, which costs more than reading
    them; `cache_write_1h_tokens`: of these, those it keeps for an hour, which costs more again.
    """

    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0


class Thought(msgspec.Struct, frozen=True):
    """Thinking of the model: so many more characters, 0 when it does not show them. They are paid for, and not kept."""

    characters: int


class Whole(msgspec.Struct, frozen=True):
    """Arrival of the finish reason: only the usage may still come, and silence costs nothing any more."""


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """The last item of a stream that ended as it should.

    `finish_reason`: `stop`, `length`, or the provider's own word for another reason.
    `repairs`: calls before it that were refused for a parameter, and made again without it.
    """

    usage: Usage
    finish_reason: str
    metadata: dict[str, object] | None = None
    repairs: int = 0


Item = str | Usage | Thought | Whole | Completion
"""Items of a stream."""


class Provider(Protocol):
    """Streams text. It must be safe to call many times at once and to cancel at any await.

    `gated`: many share its limits, so calls ask the gate of their model first; False for models in this process.
    """

    @property
    def gated(self) -> bool: ...

    def stream(self, request: GenerationRequest) -> AsyncIterator[Item]:
        """Pieces of text, then one `Completion`. A stream that ends without one counts as broken.

        A `Usage` in between holds the counts reported so far, for a stream that will not reach its end; a
        `Thought`, that it is not silent although no text comes.
        Raises `ProviderError`; any other exception counts as an internal error and is retried.
        """
        ...

    def cost(self, model: str, usage: Usage) -> int | None:
        """Cost of these tokens in nano-USD (1e-9 USD); None when the price of the model is not known."""
        ...

    async def aclose(self) -> None:
        """Close the provider's connections."""
        ...


@runtime_checkable
class Remote(Provider, Protocol):
    """A provider that calls a server with a key."""

    def rekey(self, key: str) -> None:
        """Use another key (empty: none) from the next call on; calls under way go on with theirs."""
        ...


class Action(StrEnum):
    """Reactions to a failed call. FAIL is about the request, all others about the provider."""

    WAIT = "wait"  # too many calls: block the gate for the whole fleet, no attempt is used up
    RETRY = "retry"  # try again with back-off; before the first token another provider may take over at once
    FALLBACK = "fallback"  # this provider will not serve us: another one may, else the job fails
    FAIL = "fail"  # no provider would answer this request


class ProviderError(Exception):
    """Failure of a call that its provider's adapter has classified. `error` is in our own words and safe to show.

    `retry_after_s`: the provider's retry-after; None: back off. `answered`: the provider did its part, so its gate does
    not count this as a failure.
    """

    def __init__(
        self, error: JobError, action: Action, *, retry_after_s: float | None = None, answered: bool = False
    ) -> None:
        super().__init__(error.type)
        self.error = error
        self.action = action
        self.retry_after_s = retry_after_s
        self.answered = answered
