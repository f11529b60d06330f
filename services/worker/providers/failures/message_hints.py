"""Reads the messages of errors: the last resort, because they may be reworded at any time. Pure."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class Hint(StrEnum):
    """Meaning of a message."""

    CREDIT = "credit"  # Anthropic answers an empty account, and one at a limit of its owner, with a plain 400
    TOO_LONG = "too_long"  # and a prompt beyond the context as well
    OVER_LIMIT = "over_limit"  # OpenAI answers a request beyond the limit per minute with a 429, however long we wait
    KEY = "key"  # Gemini answers a key that it does not know with a 400, others with a 403 or a 404
    REGION = "region"  # and a server in a country that it does not serve
    ACCOUNT = "account"  # Anthropic answers an organisation that it has disabled with a 400
    FILTERED = "filtered"  # DeepSeek, Zhipu and Anthropic answer filtered prompts with a 400, OpenRouter with a 403
    MODEL = "model"  # DeepSeek, Mistral and OpenRouter answer a model that they do not have with a 400


HINT_CHARACTERS: Final = 200
"""Characters of a message that are read. The provider's own words come first; later ones may be quoted from the prompt,
whose author's words must not be taken for an empty account."""

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
    ("context limit", Hint.TOO_LONG),
    ("context window", Hint.TOO_LONG),
    ("input token count", Hint.TOO_LONG),
    ("reduce the length of", Hint.TOO_LONG),
    ("credit balance is too low", Hint.CREDIT),
    ("api usage limits", Hint.CREDIT),
    ("spend limit", Hint.CREDIT),
    ("insufficient balance", Hint.CREDIT),
    ("insufficient credit", Hint.CREDIT),
    ("used all available credits", Hint.CREDIT),
)
_FILTER_WORDS: Final = (
    r"\brequires moderation\b|\bcontent (?:filter|polic|moderation|management polic)|\bcontent exists risk\b|"
    r"\binappropriate content\b|\b(?:input|prompt|request|content|output|response|messages?|text)\b.{0,40}\b(?:was|is|"
    r"were|are|been) (?:flagged|blocked|filtered|moderated)\b|敏感"
)
_PATTERNS: Final = (
    (re.compile(_FILTER_WORDS), Hint.FILTERED),
    (re.compile(f"{_KEY_FAULT}.{{0,40}}?{_KEY_NOUN}|{_KEY_NOUN}.{{0,40}}?{_KEY_FAULT}|{_KEY_WORDS}"), Hint.KEY),
    (
        re.compile(
            r"\b(?:account|organi[sz]ation|project|subscription|workspace)\b.{0,40}\b(?:banned|deactivated|disabled|in "
            r"arrears|inactive|not active|on hold|overdue|suspended|terminated)\b"
        ),
        Hint.ACCOUNT,
    ),
    (re.compile(r"\b(?:location|country|region|territory)\b.{0,40}\bnot supported\b"), Hint.REGION),
    (
        re.compile(
            r"\b(?:invalid|unknown|no such) model\b|\bmodels?\b[:\s]*[`'\"]?[\w./:@-]{0,80}[`'\"]?\s+(?:does not exist|"
            r"not exist|(?:is )?not found|is not available|is not supported|is not a valid|"
            r"(?:is|was|has been) (?:deprecated|retired|decommissioned|discontinued|removed|no longer \w+))\b|"
            r"\bnot a valid model\b"
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
