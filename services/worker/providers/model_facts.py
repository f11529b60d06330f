"""Facts about the vendors' models by name, at any address. No vendor's package is needed to read them.

Sources (November 2026): OpenAI's "Using GPT-6" and "Reasoning models" guides and the pages of its models; Anthropic's
models overview, "Thinking", "Effort" and the migration guides of Claude Opus 5 and 5.5; Google's "OpenAI
compatibility" of Gemini; the models that the SDKs list. Parameters that a server still refuses are repaired
(`repairs.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from shared.job import Effort

THINKING_TOKENS: Final[Mapping[Effort, int]] = {Effort.LOW: 4_096, Effort.MEDIUM: 16_384, Effort.HIGH: 32_768}
"""Room for thoughts on top of a token limit, by effort, where a model thinks: its limit counts both."""


class Thinking(Enum):
    """Whether a model thinks before it writes. A post for a feed needs none, and it costs like text."""

    NEVER = "never"
    ON_DEMAND = "on demand"  # only when asked to
    BY_DEFAULT = "by default"  # unless asked not to
    ALWAYS = "always"


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters that a model accepts. `known`: False for a name that is in no table, of which nothing is sure.

    `temperature`: whether it takes one while it does not think, `thinking_temperature`: while it does. `max_output`:
    tokens of an answer, thoughts among them; None: not known. `off`: the type of `thinking` that
    keeps one of Anthropic's from it.
    """

    thinking: Thinking
    temperature: bool = True
    thinking_temperature: bool = False
    max_output: int | None = None
    off: str = "disabled"
    known: bool = True

    def effort(self, asked: Effort | None) -> Effort | None:
        """Effort of its thinking: as asked, else the least that it has; None: it does not think.

        An unknown model gets the effort that was asked for, and nothing else.
        """
        if self.thinking is Thinking.NEVER:
            return None if self.known else asked
        return asked or (Effort.LOW if self.thinking is Thinking.ALWAYS else None)

    def takes_temperature(self, effort: Effort | None) -> bool:
        """Whether a temperature may be sent beside this effort."""
        return self.temperature if effort is None else self.thinking_temperature or not self.known

    def limit(self, tokens: int, effort: Effort | None) -> int:
        """A limit for `tokens` of text: with room for thoughts, and no more than the model has."""
        whole = tokens + (THINKING_TOKENS[effort] if effort is not None else 0)
        return whole if self.max_output is None else min(whole, self.max_output)


_UNKNOWN: Final = Model(thinking=Thinking.NEVER, thinking_temperature=True, known=False)
_PREFIX: Final = re.compile(r"(?:models/|(?:[a-z]{2,6}\.)?(?:openai|anthropic|google)[./])+")
"""Prefixes by which gateways (OpenRouter, LiteLLM, Bedrock, Gemini's own) name the vendor of a model."""

_OPENAI: Final = tuple(
    (re.compile(rf"(?:{pattern})\Z"), model)
    for pattern, model in (
        (r"gpt-5(\.\d)?-chat.*|chat-latest", Model(thinking=Thinking.NEVER, max_output=16_384)),
        (
            # 6.1 Sol and both of 6.2 refuse `none`; 6 Astra never knew it.
            r"gpt-6\.1-terra|gpt-6-(luna|sol)|gpt-5\.6-(luna|terra|sol)|gpt-5\.[1-5](-mini|-nano)?(-\d{4}-\d\d-\d\d)?",
            Model(thinking=Thinking.BY_DEFAULT, max_output=128_000),
        ),
        (r"gpt-([5-9]|\d\d).*", Model(thinking=Thinking.ALWAYS, temperature=False, max_output=128_000)),
        (r"o\d(-.*)?", Model(thinking=Thinking.ALWAYS, temperature=False, max_output=100_000)),
        (r"gpt-4\.1.*", Model(thinking=Thinking.NEVER, max_output=32_768)),
        (r"gpt-4o.*", Model(thinking=Thinking.NEVER, max_output=16_384)),
        (r"(gpt-4-turbo|gpt-3\.5-turbo).*", Model(thinking=Thinking.NEVER, max_output=4_096)),
        (r"gpt-oss-.*", Model(thinking=Thinking.ALWAYS, thinking_temperature=True)),
        (
            r"gemini-2\.5-flash.*",
            Model(thinking=Thinking.BY_DEFAULT, thinking_temperature=True, max_output=65_535),
        ),
        (
            r"gemini-(2\.5-pro|[3-9]).*",
            Model(thinking=Thinking.ALWAYS, thinking_temperature=True, max_output=65_536),
        ),
    )
)

_ANTHROPIC: Final = tuple(
    (re.compile(rf"(?:{pattern})(-\d{{8}})?(-v\d.*)?\Z"), model)
    for pattern, model in (
        (
            r"claude-haiku-5-5|claude-sonnet-5|claude-opus-5",
            Model(thinking=Thinking.BY_DEFAULT, temperature=False, max_output=128_000),
        ),
        (
            r"claude-sonnet-5-5",
            Model(thinking=Thinking.BY_DEFAULT, temperature=False, max_output=128_000, off="between_tools"),
        ),
        (
            r"claude-(opus|sonnet)-4-[6-9]",
            Model(thinking=Thinking.ON_DEMAND, temperature=False, max_output=128_000),
        ),
        (r"claude-(opus|sonnet|haiku)-4-5", Model(thinking=Thinking.NEVER, temperature=False, max_output=64_000)),
        (
            # Opus 5.5, Fable, Mythos, and all later ones: the newer ones think always.
            r"claude-(fable|mythos)-.*|claude-(haiku|sonnet|opus)-[5-9](-.*)?",
            Model(thinking=Thinking.ALWAYS, temperature=False, max_output=128_000),
        ),
        (r"claude-.*", Model(thinking=Thinking.NEVER, temperature=False)),
    )
)


def openai_model(name: str) -> Model:
    """Parameters that a model accepts in OpenAI's dialect."""
    return _find(_OPENAI, name)


def anthropic_model(name: str) -> Model:
    """Parameters that a model accepts in Anthropic's dialect."""
    return _find(_ANTHROPIC, name)


def _find(table: tuple[tuple[re.Pattern[str], Model], ...], name: str) -> Model:
    prefix = _PREFIX.match(name)
    # OpenRouter says after a colon how a model is served (`:free`, `:nitro`), not which it is.
    plain = name[prefix.end() if prefix else 0 :].partition(":")[0]
    return next((model for pattern, model in table if pattern.match(plain)), _UNKNOWN)
