"""The lines under `Requirements`: known parameters in a fixed order, then the others by name.

A value is shown on one line, bounded, and without what a model reads and people do not see.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from services.worker.prompting.platforms import LENGTHS, Platform
from shared.job import ParameterValue

TEXT_MAX: Final = 1_000
ITEMS_MAX: Final = 32
ITEM_MAX: Final = 200
"""Most characters of a text, most items of a list, most characters of one; the rest is cut off."""

# Control characters, line and paragraph separators end a line for one reader or another.
_BREAKS: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")

# Invisible to people, read by a model: format and bidirectional marks, tags, variation selectors that no emoji needs,
# private and surrogate code points. The joiners that scripts and emoji are made of stay.
_HIDDEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ud800-\udfff"
    "\ue000-\uf8ff\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
_MARKER: Final = re.compile(r"(?<=<)(?=\|)|(?<=\|)(?=>)")
"""Chat templates of open models write their own delimiters like this, and some servers do not distinguish them from
text."""

_PLAIN_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*\Z")


def one_line(text: str, limit: int) -> str:
    """The text without line ends, control and hidden characters, at most `limit` characters, spaces collapsed."""
    cut = unicodedata.normalize("NFC", text[: 4 * limit])
    cut = _MARKER.sub(" ", _HIDDEN.sub("", cut))
    cut = _BREAKS.sub(" ", cut).strip()
    if len(cut) > limit or len(text) > 4 * limit:
        return cut[: limit - 1].rstrip() + "…"
    return cut


def quote(text: str, limit: int = TEXT_MAX) -> str:
    """The text as a JSON string; empty when nothing is left of it."""
    line = one_line(text, limit)
    return json.dumps(line, ensure_ascii=False) if line else ""


def _scalar(value: str | float, limit: int) -> str:  # bool and int are floats to a type checker
    if isinstance(value, bool):
        return "yes" if value else "no"
    return quote(value, limit) if isinstance(value, str) else repr(value)


def show(value: ParameterValue) -> str:
    """Any value on one line: texts quoted, numbers bare, lists with commas; empty when there is nothing to show."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        shown = [_scalar(item, ITEM_MAX) for item in value[:ITEMS_MAX]]
        return ", ".join(item for item in shown if item)
    return _scalar(value, TEXT_MAX)


def show_name(name: str) -> str:
    """The name of an unknown parameter: bare when it is a plain word, else quoted like a value."""
    line = one_line(name, 64)
    return line if _PLAIN_NAME.match(line) else json.dumps(line, ensure_ascii=False)


Show = Callable[[ParameterValue, Platform], str]


class Known(msgspec.Struct, frozen=True):
    """A parameter with a meaning: the label of its line, and how its value is shown."""

    label: str
    show: Show


def _plain(value: ParameterValue, _: Platform) -> str:
    return show(value)


def _wanted(value: ParameterValue, some: str) -> str | None:
    """Show a parameter that may also be a switch or a number: `some` when it is on; None: it is neither."""
    if isinstance(value, bool):
        return some if value else "none"
    if isinstance(value, int | float):
        return f"at most {value:,.0f}" if 0 < value < 1_000 else "none" if value <= 0 else some
    return None


def _call_to_action(value: ParameterValue, _: Platform) -> str:
    if isinstance(value, bool):
        return "one, and a clear one" if value else "none"
    return show(value)


def _hashtags(value: ParameterValue, platform: Platform) -> str:
    most = platform.hashtags
    if most is not None and isinstance(value, int | float) and not isinstance(value, bool):
        value = min(value, most)
    return _wanted(value, "some that fit") or show(value)


def _emoji(value: ParameterValue, _: Platform) -> str:
    return _wanted(value, "a few where they fit") or show(value)


def word_count(value: ParameterValue) -> int | None:
    """A length given as a number of words, 1 to 20,000."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 20_000:
        return None
    return round(value)


def length_name(value: ParameterValue) -> str | None:
    """`short`, `medium` or `long`, however it is written."""
    name = value.strip().lower() if isinstance(value, str) else ""
    return name if name in LENGTHS else None


def _length(value: ParameterValue, platform: Platform) -> str:
    if (name := length_name(value)) is not None:
        return f"{name}, {platform.length(name)}"
    words = word_count(value)
    return show(value) if words is None else f"about {words:,} words"


def character_limit(value: ParameterValue) -> int | None:
    """A limit of the customer's own, in characters, 1 to 1,000,000."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 1_000_000:
        return None
    return int(value)


def _characters(value: ParameterValue, _: Platform) -> str:
    limit = character_limit(value)
    return show(value) if limit is None else f"{limit:,}"


KNOWN: Final[Mapping[str, Known]] = {
    "format": Known("Format", _plain),
    "tone": Known("Tone", _plain),
    "brandvoice": Known("Brand voice", _plain),
    "language": Known("Language of the whole text", _plain),
    "audience": Known("Audience", _plain),
    "goal": Known("Goal", _plain),
    "keywords": Known("Keywords, each where it fits", _plain),
    "avoid": Known("Words to avoid", _plain),
    "calltoaction": Known("Call to action", _call_to_action),
    "hashtags": Known("Hashtags", _hashtags),
    "emoji": Known("Emoji", _emoji),
    "length": Known("Length", _length),
    "maxcharacters": Known("Most characters", _characters),
}
"""Known parameters, in the order of their lines."""

_ALIASES: Final[Mapping[str, str]] = {
    "contentformat": "format", "toneofvoice": "tone", "lang": "language", "locale": "language",
    "targetaudience": "audience", "objective": "goal", "keyword": "keywords", "avoidwords": "avoid",
    "cta": "calltoaction",
    "includecalltoaction": "calltoaction", "includehashtags": "hashtags", "emojis": "emoji", "includeemoji": "emoji",
    "includeemojis": "emoji", "characterlimit": "maxcharacters", "maxlength": "maxcharacters",
}  # fmt: skip


def _meaning(name: str) -> str:
    plain = re.sub(r"[\s_.-]", "", name.lower())
    return _ALIASES.get(plain, plain)


def recognise(
    parameters: Mapping[str, ParameterValue],
) -> tuple[dict[str, ParameterValue], list[tuple[str, ParameterValue]]]:
    """The known parameters by meaning, and the others by name. Of two with one meaning the first name in order counts,
    the second stays among the others: nothing is lost, and the order of the mapping plays no part."""
    known: dict[str, ParameterValue] = {}
    others: list[tuple[str, ParameterValue]] = []
    for name, value in sorted(parameters.items(), key=lambda item: item[0]):
        meaning = _meaning(name)
        if (meaning in KNOWN or meaning == "platform") and meaning not in known:
            known[meaning] = value
        else:
            others.append((name, value))
    return known, others


def lines(
    known: Mapping[str, ParameterValue], others: list[tuple[str, ParameterValue]], platform: Platform
) -> Iterator[str]:
    """One line per requirement; a parameter with nothing in it has none."""
    for meaning, how in KNOWN.items():
        if meaning in known and (text := how.show(known[meaning], platform)):
            yield f"- {how.label}: {text}"
    for name, value in others:
        if text := show(value):
            yield f"- {show_name(name)}: {text}"
