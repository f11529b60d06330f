"""What is known of the vendors' models by name. No vendor's package is needed to read it.

Sources (November 2026): OpenAI "Latest model" and "Reasoning models" guides, Anthropic "Thinking" and the migration
guide of Claude Haiku 5.5, the models and deprecations that the SDKs list.
"""

from __future__ import annotations

import re
from typing import Final

THINKING_TOKENS: Final = 4096
"""Room for thoughts on top of a token limit, where a model cannot be kept from thinking: its limit counts both."""

_OPENAI_PLAIN: Final = re.compile(r"gpt-6-(luna|sol)\Z|gpt-5\.6-(luna|terra|sol)\Z")
"""Models that reason unless told not to, and can be told."""

_OPENAI_REASONING: Final = re.compile(r"gpt-[5-9]|o\d")
_ANTHROPIC_PLAIN: Final = re.compile(r"claude-(haiku|sonnet)-5(-|\Z)")
_ANTHROPIC_THINKING: Final = re.compile(r"claude-(fable|mythos)-|claude-(haiku|sonnet|opus)-[5-9](-|\Z)")


def openai_can_stop_reasoning(model: str) -> bool:
    """Whether `reasoning_effort: none` is understood. A post for a feed needs no reasoning, and it costs like text."""
    return _OPENAI_PLAIN.match(model) is not None


def openai_reasons(model: str) -> bool:
    """Whether it reasons whatever we say; such models also refuse a temperature."""
    return _OPENAI_REASONING.match(model) is not None and not openai_can_stop_reasoning(model)


def anthropic_can_stop_thinking(model: str) -> bool:
    """Whether `thinking: disabled` is understood by a model that would think otherwise."""
    return _ANTHROPIC_PLAIN.match(model) is not None


def anthropic_thinks(model: str) -> bool:
    """Whether it thinks whatever we say."""
    return _ANTHROPIC_THINKING.match(model) is not None and not anthropic_can_stop_thinking(model)
