"""Counts the tokens of calls, as reported or else estimated, and sums them up over the attempts of a job. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from shared.job import NANO, Spent, Usage, reasoning

BYTES_PER_TOKEN: Final = 4
"""About four characters of English are one token (OpenAI, "What are tokens and how to count them")."""

_NOTHING: Final = Usage(input_tokens=0, output_tokens=0)


def estimate_tokens(length: int) -> int:
    """Estimated tokens of a text of so many bytes or characters; at least 1 unless it is empty."""
    return -(-length // BYTES_PER_TOKEN)


def usage_of_answer(reported: Usage | None, asked_length: int, text_length: int, thought_length: int = 0) -> Usage:
    """Count a whole answer as the provider reported it; counts that are missing or 0 are estimated."""
    known = reported or _NOTHING
    if known.input_tokens and known.output_tokens:
        return known
    return msgspec.structs.replace(
        known,
        input_tokens=known.input_tokens or estimate_tokens(asked_length),
        output_tokens=known.output_tokens or estimate_tokens(text_length + thought_length),
        reasoning_tokens=known.reasoning_tokens if known.output_tokens else reasoning(estimate_tokens(thought_length)),
        estimated=True,
    )


def usage_of_broken(reported: Usage | None, prompt: str, text_length: int, thought_length: int = 0) -> Usage:
    """Count a stream that did not reach its end as the provider reported it so far; the rest is estimated."""
    known = reported or _NOTHING
    return msgspec.structs.replace(
        known,
        input_tokens=known.input_tokens or estimate_tokens(len(prompt)),
        output_tokens=max(estimate_tokens(text_length + thought_length), known.output_tokens),
        reasoning_tokens=known.reasoning_tokens or reasoning(estimate_tokens(thought_length)),
        estimated=True,
    )


def total(before: Spent | None, usage: Usage, cost: int | None) -> Spent:
    """Add a call to the sum `before`. A sum with an unknown part is unknown, never too low."""
    if before is None and type(usage) is Usage:  # a billed one has counts that are not promised to callers
        return Spent(usage=usage, cost=cost)
    before = before or Spent(usage=_NOTHING, cost=0)
    earlier = before.usage
    return Spent(
        usage=Usage(
            input_tokens=earlier.input_tokens + usage.input_tokens,
            output_tokens=earlier.output_tokens + usage.output_tokens,
            cached_tokens=earlier.cached_tokens + usage.cached_tokens,
            estimated=earlier.estimated or usage.estimated,
            reasoning_tokens=reasoning((earlier.reasoning_tokens or 0) + (usage.reasoning_tokens or 0)),
        ),
        cost=None if before.cost is None or cost is None else before.cost + cost,
    )


def to_usd(cost: int | None) -> float | None:
    """Nano-USD as USD: exact to the nano for sums below 9 million USD."""
    return None if cost is None else cost / NANO
