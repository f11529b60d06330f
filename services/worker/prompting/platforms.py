"""Rules of each platform for a text: its limits, each with its source, and how to write for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from services.worker.prompting.counting import code_points, display_width, utf16_units, x_weight

LENGTHS: Final = ("short", "medium", "long")


class Part(msgspec.Struct, frozen=True):
    """A labelled line of the text (`Headline: …`) with a limit of its own."""

    name: str
    limit: int


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """One platform. `limit`: most characters of the whole text, by `count`; None: it has none.

    `words`: fewest and most words of a short, medium and long text; `lengths` says it otherwise where words do not fit.
    """

    name: str
    title: str
    rules: tuple[str, ...]
    words: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    lengths: tuple[str, str, str] | None = None
    limit: int | None = None
    count: Callable[[str], int] = code_points
    hashtags: int | None = None
    parts: tuple[Part, ...] = ()

    def length(self, name: str) -> str:
        """Length that `short`, `medium` or `long` means here."""
        i = LENGTHS.index(name)
        if self.lengths is not None:
            return self.lengths[i]
        least, most = self.words[i]
        return f"{least:,} to {most:,} words"


ANYWHERE: Final = Platform(name="", title="", rules=(), words=((50, 100), (150, 250), (400, 600)))
"""Rules for a job that names no platform, or an unknown one."""

# 3,000 characters: LinkedIn's post composer and its partners' documentation. It does not say how it counts beyond the
# basic plane: UTF-16 units are the strictest reading, here and for Meta's platforms.
_LINKEDIN: Final = Platform(
    name="linkedin",
    title="LinkedIn post",
    limit=3_000,
    count=utf16_units,
    words=((40, 80), (100, 180), (250, 400)),
    rules=(
        "At most 3,000 characters in all; far fewer usually do better.",
        "The first two lines must make a reader want the rest: LinkedIn folds what follows.",
        "Short paragraphs with empty lines between them. Plain text: LinkedIn shows no Markdown.",
        "At most five hashtags, on the last line.",
    ),
)

# 280 weighted characters: docs.x.com/fundamentals/counting-characters, config/v3.json of twitter-text.
_X: Final = Platform(
    name="x",
    title="post on X (Twitter)",
    limit=280,
    count=x_weight,
    words=((8, 15), (18, 30), (30, 40)),
    rules=(
        "At most 280 characters in all, hashtags included. A URL counts 23, an emoji or a CJK character 2.",
        "One post, not a thread. One thought, said plainly.",
        "At most two hashtags.",
    ),
)

# 2,200 characters: Instagram Platform reference, `caption` of IG User Media. 5 hashtags: Instagram's announcement of
# December 2025, where there were 30 before.
_INSTAGRAM: Final = Platform(
    name="instagram",
    title="Instagram caption",
    limit=2_200,
    count=utf16_units,
    hashtags=5,
    words=((10, 30), (50, 100), (150, 250)),
    rules=(
        "At most 2,200 characters in all, hashtags included.",
        "The point stands in the first 125 characters: Instagram folds what follows.",
        "Three to five hashtags that fit, never more than five, on the last line.",
        "Links cannot be clicked in a caption: name none unless asked to.",
    ),
)

# 63,206 characters: Facebook's announcement of November 2011, confirmed by its engineer Bob Baldwin.
_FACEBOOK: Final = Platform(
    name="facebook",
    title="Facebook post",
    limit=63_206,
    count=utf16_units,
    words=((10, 40), (50, 100), (150, 300)),
    rules=(
        "Best below 80 words: people scroll past long posts, although far longer ones are possible.",
        "Friendly and direct; one question or one invitation. Plain text: Facebook shows no Markdown.",
        "At most two hashtags.",
    ),
)

# 2,200 UTF-16 units: `title` of a video in TikTok's Content Posting API (direct post); the app itself takes 4,000.
_TIKTOK: Final = Platform(
    name="tiktok",
    title="TikTok caption",
    limit=2_200,
    count=utf16_units,
    words=((5, 15), (20, 40), (60, 120)),
    rules=(
        "At most 2,200 characters in all, hashtags included.",
        "The first line works alone: the video covers the rest. Words that people search for come early.",
        "Three to five hashtags that fit, on the last line.",
    ),
)

# RFC 5322 section 2.1.1: a line of a message should have at most 78 characters, `Subject: ` included; mail clients on
# a phone show about 40 to 60 of them.
_EMAIL: Final = Platform(
    name="email",
    title="marketing email",
    parts=(Part("subject", 60),),
    words=((50, 100), (120, 200), (250, 400)),
    rules=(
        "The first line is `Subject: ` and a subject of at most 60 characters. After an empty line comes the body.",
        "Use the label in English, whatever the language of the text.",
        "The body has a greeting, short paragraphs, one call to action and a sign-off. No Markdown.",
    ),
)

_BLOG: Final = Platform(
    name="blog",
    title="blog post",
    words=((300, 500), (700, 1_000), (1_500, 2_000)),
    rules=(
        "Markdown: one `# ` title of at most 60 characters, an opening paragraph, `## ` sections, a conclusion.",
        "The opening says what the reader gets. Concrete sentences, no filler.",
        "No hashtags.",
    ),
)

# Google Ads Help, "About responsive search ads" (7684791): 3 to 15 headlines of 30 characters, 2 to 4 descriptions of
# 90; double-width characters count twice.
_AD: Final = Platform(
    name="ad",
    title="responsive search ad (Google Ads)",
    count=display_width,
    parts=(Part("headline", 30), Part("description", 90)),
    words=((60, 90), (90, 120), (150, 200)),
    lengths=("3 headlines and 2 descriptions", "6 headlines and 3 descriptions", "15 headlines and 4 descriptions"),
    rules=(
        "Every line is `Headline: ` and at most 30 characters, or `Description: ` and at most 90. Nothing else.",
        "Chinese, Japanese and Korean characters count 2.",
        "Use the labels in English, whatever the language of the text.",
        "3 headlines and 2 descriptions unless a length is asked for. Any of them must make sense beside any other.",
        "No hashtags, no emoji, no exclamation mark in a headline.",
    ),
)

PLATFORMS: Final[Mapping[str, Platform]] = {
    platform.name: platform for platform in (_LINKEDIN, _X, _INSTAGRAM, _FACEBOOK, _TIKTOK, _EMAIL, _BLOG, _AD)
}

_ALIASES: Final[Mapping[str, str]] = {
    "twitter": "x", "xtwitter": "x", "twitterx": "x", "tweet": "x", "ig": "instagram", "fb": "facebook",
    "newsletter": "email", "blogpost": "blog", "article": "blog", "ads": "ad", "googleads": "ad",
}  # fmt: skip


def find_platform(value: object) -> Platform | None:
    """The platform that a parameter names, however it is spelled (`X (Twitter)`, `LinkedIn`); None: not known here."""
    if not isinstance(value, str) or len(value) > 64:
        return None
    name = re.sub(r"[\W_]", "", value.lower())
    return PLATFORMS.get(_ALIASES.get(name, name))
