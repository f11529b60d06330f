"""What only the message of an error says. The last resort: messages may be reworded at any time. Pure."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class Hint(StrEnum):
    """What a message gives away."""

    CREDIT = "credit"  # Anthropic answers an empty account, and one at a limit of its owner, with a plain 400
    TOO_LONG = "too_long"  # and a prompt beyond the context as well
    OVER_LIMIT = "over_limit"  # OpenAI answers a request beyond the limit per minute with a 429, however long we wait
    KEY = "key"  # Gemini answers a key that it does not know with a 400, others with a 403 or a 404
    REGION = "region"  # and a server in a country that it does not serve
    MODEL = "model"  # DeepSeek, Mistral and OpenRouter answer a model that they do not have with a 400


HINT_CHARACTERS: Final = 200
"""What a provider has to say stands first. What comes later may be quoted from the prompt, which must not get its
author's words taken for an empty account."""

_KEY_NOUN: Final = (
    r"\b(?:(?:x-)?api[ _-]?(?:key|token|secret)|access[ _-]?(?:key|token)|auth(?:entication|ori[sz]ation)?(?:[ _-]"
    r"(?:key|token|header|credentials?))?|credentials?|bearer token|secret key)\b"
)
_KEY_FAULT: Final = (
    r"\b(?:not (?:valid|found|recogni[sz]ed|authori[sz]ed|provided|set)|invalid|incorrect|expired|missing|unknown|"
    r"wrong|revoked|disabled|suspended|leaked|malformed|no such|no|required|rejected|failed|fails|valid|"
    r"did(?:n't| not) provide)\b"
)
_KEY_WORDS: Final = (
    r"\bunauth(?:ori[sz]ed|enticated)\b|\b(?:invalid|expired) token\b(?! count)|"
    r"\btoken (?:is |has )?(?:invalid|expired)\b"
)
_WORDS: Final = (
    ("request too large", Hint.OVER_LIMIT),
    ("prompt is too long", Hint.TOO_LONG),
    ("maximum context length", Hint.TOO_LONG),
    ("credit balance is too low", Hint.CREDIT),
    ("api usage limits", Hint.CREDIT),
    ("spend limit", Hint.CREDIT),
    ("insufficient balance", Hint.CREDIT),
    ("insufficient credit", Hint.CREDIT),
    ("used all available credits", Hint.CREDIT),
)
_PATTERNS: Final = (
    (re.compile(f"{_KEY_FAULT}.{{0,40}}?{_KEY_NOUN}|{_KEY_NOUN}.{{0,40}}?{_KEY_FAULT}|{_KEY_WORDS}"), Hint.KEY),
    (re.compile(r"\b(?:location|country|region|territory)\b.{0,40}\bnot supported\b"), Hint.REGION),
    (
        re.compile(
            r"\b(?:invalid|unknown|no such) model\b|\bmodels?\b[:\s]*[`'\"]?[\w./:@-]{0,80}[`'\"]?\s+(?:does not exist|"
            r"not exist|(?:is )?not found|is not available|is not supported|is not a valid|has been "
            r"(?:deprecated|retired|decommissioned))\b|\bnot a valid model\b"
        ),
        Hint.MODEL,
    ),
)


def hint_in(message: object) -> Hint | None:
    """The hint in the message of an error, which itself goes no further."""
    text = message[:HINT_CHARACTERS].lower() if isinstance(message, str) else ""
    for words, hint in _WORDS:
        if words in text:
            return hint
    return next((hint for pattern, hint in _PATTERNS if pattern.search(text)), None)
