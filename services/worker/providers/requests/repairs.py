"""Finds the refused parameters in a server's answer, and the fixes for them. Pure.

The shapes are those of the servers themselves (November 2026): OpenAI's and Azure's `param`, the `loc` lists of
pydantic (vLLM, Mistral, FastAPI), Gemini's field violations, and the sentences of Anthropic, Groq, xAI, DeepSeek,
Fireworks, Ollama, LiteLLM, and of chat templates without a system role.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from services.worker.providers.requests.drafts import INSTRUCTING, LABELS, LIMITS, Draft, Fix, Sent

TEXT_MAX: Final = 4_000
"""Characters of a refusal that are read, over all of its parts; a part is read up to PART_MAX."""

PART_MAX: Final = 1_000
_NODES_MAX: Final = 300
_DEPTH_MAX: Final = 8

_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_SPELLINGS: Final = {
    "temperature": re.compile(r"temperature", re.IGNORECASE),
    "top_p": re.compile(r"top_?p\b", re.IGNORECASE),
    "max_tokens": re.compile(r"max_?(completion_|output_|new_)?tokens|max(Completion|Output)Tokens", re.IGNORECASE),
    "stream_options": re.compile(r"stream_?options|include_usage", re.IGNORECASE),
    "reasoning_effort": re.compile(r"reasoning|\bthink(ing)?\b", re.IGNORECASE),
    "thinking": re.compile(r"thinking", re.IGNORECASE),
    "safety_identifier": re.compile(r"safety_?identifier", re.IGNORECASE),
    "metadata": re.compile(r"\bmetadata\b|user_id", re.IGNORECASE),
    "output_config": re.compile(r"output_config(?!\.format)|\beffort\b", re.IGNORECASE),
    "response_format": re.compile(
        r"response_?(format|schema)|json_?schema|output_format|output_config(?!\.effort)|structured output|"
        r"guided_?(json|decoding)|\bgrammar\b",
        re.IGNORECASE,
    ),
    "system": re.compile(
        r"(system|developer) (role|message|prompt|instruction)|role:? ['\"`]?(system|developer)|"
        r"['\"`](system|developer)['\"`]|\brole\b.{0,40}\bsystem\b|roles must alternate|"
        r"user and assistant roles|\bsystem\b.{0,40}not (support|permit)",
        re.IGNORECASE,
    ),
}
_REFUSES: Final = re.compile(
    r"n[o']t (\w+ )?(support|permit|allow|accept|enabled|recogni|valid|available)|unsupported|unavailable|unknown|"
    r"unrecogni[sz]ed|unexpected|extra|deprecated|invalid|only|must|cannot|can't|too (large|high|small|low|big)|exceed|"
    r"at most|maximum|unable|range|forbidden|incompatible|remove|> ?\d",
    re.IGNORECASE,
)
_OF_A_VALUE: Final = re.compile(
    r"too (large|high|small|low|big)|at (most|least)|maximum|minimum|less than|greater than|exceed|range|between|"
    r"positive|negative|zero|"
    r"[<>]=? ?\d|less_than|greater_than|above_max|below_min",
    re.IGNORECASE,
)
_OF_A_SCHEMA: Final = re.compile(
    r"invalid schema|in context=|schema\b.{0,80}(invalid|too |not (valid|permitted)|must|required|complex)|compil",
    re.IGNORECASE,
)
_LISTS: Final = re.compile(r"supported values|must be|one of|expected|allowed|available|valid|should be", re.IGNORECASE)
_TOO_SMALL: Final = re.compile(r"at least|minimum|greater|below_min|>=|too (small|low)", re.IGNORECASE)
LEAST_CAP: Final = 256
"""Smallest token limit of any model: a smaller number in a refusal is another."""

MOST_FLOOR: Final = 1_024
_NUMBER: Final = re.compile(r"(?<![\w.-])(?:\d{1,3}(?:,\d{3}){1,2}|\d{1,7})(?![\w-]|\.\d)( \(exclusive)?")
"""A whole number, 16,384 among them, that is no part of a model's name or of a date."""

_QUOTED: Final = frozenset({"input", "url", "ctx", "request_id", "type_id"})
"""Fields of a refusal that repeat the request, or say nothing."""

_SAYS_NOTHING: Final = frozenset({"invalid_request_error", "invalid_argument", "badrequesterror", "bad_request_error"})
"""Kinds of every refusal: the word `invalid` in them says nothing about a parameter."""

_FORMATS: Final = frozenset({"response_format", "output_format", "json_schema", "guided_json"})
_NAMING: Final = frozenset({"param", "field", "parameter", "loc"})


def find_fixes(body: object, draft: Draft) -> list[Fix]:
    """Fixes for a request that was refused with this body; empty when it names no parameter that can be fixed."""
    text, names = _read(body)
    settled = draft.settled
    named = [name for name in _named(text, names, draft.sent) if LABELS.get(name, name) not in settled]
    found = (_fix(name, text, draft) for name in named)
    return [fix for fix in found if fix is not None]


def _named(text: str, names: set[str], sent: Sent) -> list[str]:
    """Parameters of a request that its refusal names: in a field for names, or else in its text."""
    present = [name for name in _SPELLINGS if _present(name, sent)]
    named = [name for name in present if _is_named(name, names)]
    if named or names & {"messages", "model", "prompt"} or not _REFUSES.search(text):
        return named
    return [name for name in present if _SPELLINGS[name].search(text)]


def _present(name: str, sent: Sent) -> bool:
    if name == "system":
        return "system" in sent or any(message["role"] in INSTRUCTING for message in sent["messages"])
    if name == "output_config":
        return "effort" in sent.get(name, {})
    if name == "response_format":
        return name in sent or "format" in sent.get("output_config", {})
    return any(limit in sent for limit in LIMITS) if name == "max_tokens" else name in sent


def _is_named(name: str, names: set[str]) -> bool:
    if name == "system":
        return bool(names & {"system", "role"})
    if name == "reasoning_effort":
        return bool(names & {"reasoning_effort", "reasoning", "effort"})
    if name == "output_config":
        return name in names and "format" not in names
    if name == "response_format":
        return bool(names & _FORMATS) or ("output_config" in names and "effort" not in names)
    return bool(names & {*LIMITS}) if name == "max_tokens" else name in names


def _fix(name: str, text: str, draft: Draft) -> Fix | None:
    if name == "system":
        return Fix("merge", "system")
    if name == "response_format":
        return Fix("words", name, lasting=not _OF_A_SCHEMA.search(text))
    if name == "max_tokens":
        return _limit_fix(text, draft)
    if name == "thinking":
        return Fix("thinking", name, "between_tools" if "between_tools" in text else "")

    if name in ("reasoning_effort", "output_config"):
        sent = draft.sent[name] if name == "reasoning_effort" else draft.sent[name].get("effort")
        if (other := _other_effort(str(sent), text)) is not None:
            return Fix("effort", name, other)
    return Fix("drop", name, lasting=name != "temperature" or not _OF_A_VALUE.search(text))


def _other_effort(sent: str, text: str) -> str | None:
    """The nearest effort among those that a refusal lists."""
    if not _LISTS.search(text):
        return None
    said = {word for word in re.findall(r"['\"`]([a-z]+)['\"`]", text) if word in _EFFORTS} - {sent}
    rank = _EFFORTS.index(sent) if sent in _EFFORTS else 2
    return min(said, key=lambda word: (abs(_EFFORTS.index(word) - rank), _EFFORTS.index(word)), default=None)


def _limit_fix(text: str, draft: Draft) -> Fix | None:
    """Another name for the limit, or another limit; without one only where the API does not want one."""
    name, other = LIMITS if LIMITS[0] in draft.sent else reversed(LIMITS)
    if (said := re.search(r"max_(completion_)?tokens", text)) is not None and said.group() == other:
        return None  # of a name that was not sent

    if _OF_A_VALUE.search(text):
        return _other_limit(text, draft.sent[name]) or _without_limit(name, draft, lasting=False)
    if any(fix.how == "rename" for fix in draft.applied):
        return _without_limit(name, draft, lasting=True)
    return None if draft.limit_required else Fix("rename", "max_tokens", other)


def _other_limit(text: str, sent: int) -> Fix | None:
    """The nearest limit that a refusal names, in the direction that it asks for."""
    numbers = [int(found.group().split()[0].replace(",", "")) - bool(found[1]) for found in _NUMBER.finditer(text)]
    above = [number for number in numbers if sent < number <= MOST_FLOOR]
    if above and _TOO_SMALL.search(text):
        return Fix("limit", "max_tokens", min(above), lasting=False)

    below = [number for number in numbers if LEAST_CAP <= number < sent]
    return Fix("cap", "max_tokens", max(below)) if below and "context" not in text.lower() else None


def _without_limit(name: str, draft: Draft, *, lasting: bool) -> Fix | None:
    return None if draft.limit_required else Fix("drop", name, lasting=lasting)


def _read(body: object) -> tuple[str, set[str]]:
    """The texts of a refusal, without those that repeat the request, and the names in its fields for names."""
    parts: list[str] = []
    names: set[str] = set()

    for key, text in _strings(body):
        part = text[:PART_MAX]
        if key in _NAMING:
            names.update(re.findall(r"[a-z_]+", part.lower()))
        if part.lower() not in _SAYS_NOTHING:
            parts.append(part)

    text = "\n".join(parts)[:TEXT_MAX]
    # vLLM and Mistral put the list of faults into the message, as its text.
    for found in re.findall(r"['\"]loc['\"]: ?[(\[]([^)\]]{1,200})[)\]]", text):
        names.update(re.findall(r"[a-z_]+", found.lower()))
    names.discard("body")
    return text, names


def _strings(body: object) -> Iterator[tuple[str, str]]:
    left = _NODES_MAX
    waiting: list[tuple[str, object, int]] = [("", body, 0)]
    while waiting and left:
        key, value, depth = waiting.pop()
        left -= 1
        if isinstance(value, str):
            yield key, value
        elif depth < _DEPTH_MAX:
            waiting += [(name, one, depth + 1) for name, one in _held(key, value)]


def _held(key: str, value: object) -> list[tuple[str, object]]:
    """The values within one, by the field that they belong to."""
    if isinstance(value, dict):
        return [(str(name), one) for name, one in value.items() if name not in _QUOTED][:_NODES_MAX]
    return [(key, one) for one in value[:_NODES_MAX]] if isinstance(value, list | tuple) else []
