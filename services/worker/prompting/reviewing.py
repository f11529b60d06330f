"""Measures a finished text against its brief, for the result's metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from services.worker.prompting.briefing import Brief
from services.worker.prompting.counting import code_points
from services.worker.prompting.platforms import PLATFORMS, Part, Platform

_HASHTAG: Final = re.compile(r"(?<![\w&/#])#(?=\w*[^\W\d_])\w+")
"""Hashtags as the platforms link them: at least one letter, not in the middle of a word or a URL."""

MEASURED_MAX: Final = 65_536
"""Characters of a text that are read: more than any platform's limit. Of a longer one code points are counted,
which costs nothing, and hashtags and parts as far as this goes."""

PARTS_MAX: Final = 50
"""Parts that metadata lists at most: a text that is nothing but headlines is not repeated in numbers."""


def _parts(text: str, platform: Platform) -> Iterator[tuple[Part, int]]:
    """The labelled lines, as models write them: `Headline: …`, `**Headline 2:** …`."""
    by_name = {part.name: part for part in platform.parts}
    # Possessive: a label before a hundred thousand blanks would otherwise be tried in each of their pairs.
    label = re.compile(rf"[\W_]*+({'|'.join(by_name)})\s*+\d*+[\s*_]*+[:\uff1a][\s*_]*+(.*)", re.IGNORECASE)
    for line in text.splitlines():
        if (found := label.match(line)) is not None:
            yield by_name[found.group(1).lower()], platform.count(found.group(2).strip("* "))


def review(brief: Brief, text: str) -> dict[str, object] | None:
    """The text's length, as its platform counts, and whether it keeps every limit; None: the brief has none to keep."""
    platform = PLATFORMS.get(brief.platform or "")
    if platform is None and brief.character_limit is None:
        return None
    count = code_points if platform is None or len(text) > MEASURED_MAX else platform.count
    characters = count(text)
    text = text[:MEASURED_MAX]
    within = brief.character_limit is None or characters <= brief.character_limit
    found: dict[str, object] = {"characters": characters}
    if platform is not None:
        found = {"platform": platform.name} | found
    if brief.character_limit is not None:
        found["characterLimit"] = brief.character_limit
    if platform is not None and platform.hashtags is not None:
        hashtags = len(_HASHTAG.findall(text)) if "#" in text else 0
        found |= {"hashtags": hashtags, "hashtagLimit": platform.hashtags}
        within = within and hashtags <= platform.hashtags
    if platform is not None and platform.parts:
        parts = list(_parts(text, platform))
        found["parts"] = [
            {"part": part.name, "characters": size, "characterLimit": part.limit, "withinLimit": size <= part.limit}
            for part, size in parts[:PARTS_MAX]
        ]
        named = {part.name for part, _ in parts}
        within = within and named == {part.name for part in platform.parts}
        within = within and all(size <= part.limit for part, size in parts)
    return found | {"withinLimit": within}
