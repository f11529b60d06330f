"""Counts the tokens of calls, as reported or else estimated. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from shared.job import Usage, reasoning

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
