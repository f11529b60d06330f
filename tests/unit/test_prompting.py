"""System prompts from parameters: their content."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from services.worker.prompting import Brief, brief
from services.worker.prompting.briefing import RULES, TOKENS_MAX, TOKENS_MIN
from services.worker.prompting.platforms import PLATFORMS, find_platform
from services.worker.prompting.requirements import ITEM_MAX, ITEMS_MAX, TEXT_MAX
from tests.support.processes import ROOT
from tests.support.prompting import requirements_of

DOCS = Path(ROOT) / "docs" / "prompting.md"


def test_without_parameters_there_are_the_rules_alone() -> None:
    """No platform, no limit, no cap: the prompt decides."""
    assert brief({}) == Brief(system=RULES)


def test_the_beginning_is_what_all_jobs_share() -> None:
    """Rules first, then the platform, then this job's own lines: a provider's cache can hold the beginning."""
    one, other = brief({"platform": "x", "tone": "warm"}), brief({"platform": "twitter", "tone": "cold"})
    plain = brief({"platform": "X (Twitter)"})
    assert plain.system.startswith(RULES)
    assert one.system.startswith(plain.system)
    assert other.system.startswith(plain.system)
    assert (one.platform, one.character_limit) == (other.platform, other.character_limit) == ("x", 280)


@pytest.mark.parametrize(
    ("named", "platform"),
    [
        ("linkedin", "linkedin"), ("LinkedIn", "linkedin"), (" Linked-In ", "linkedin"), ("x", "x"), ("X/Twitter", "x"),
        ("Tweet", "x"), ("IG", "instagram"), ("facebook", "facebook"), ("TikTok", "tiktok"), ("newsletter", "email"),
        ("Blog post", "blog"), ("Google Ads", "ad"), ("mastodon", None), ("", None), (7, None), (["x"], None),
        ("x" * 100, None),
    ],
)  # fmt: skip
def test_platforms_are_found_however_they_are_spelled(named: Any, platform: str | None) -> None:
    """An unknown parameter stays a requirement in the customer's words."""
    made = brief({"platform": named})
    assert made.platform == platform
    assert (find_platform(named) is None) == (platform is None)
    if platform is None:
        assert any("platform" in line for line in requirements_of(made)) == bool(named)
    else:
        assert f"Platform: {PLATFORMS[platform].title}" in made.system
        assert requirements_of(made) == []


@pytest.mark.parametrize("name", PLATFORMS)
def test_each_platform_states_its_limits(name: str) -> None:
    """The limits of the code are in the words that the model reads, and the docs say them too."""
    platform = PLATFORMS[name]
    made = brief({"platform": name})
    assert made.character_limit == platform.limit
    if name not in ("email", "blog", "ad", "facebook"):
        assert f"At most {platform.limit:,} characters in all" in made.system
    for part in platform.parts:
        assert re.search(rf"`{part.name}: `.*at most {part.limit}\b", made.system, re.IGNORECASE)
    (row,) = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}`")]
    for number in (platform.limit, platform.hashtags, *(part.limit for part in platform.parts)):
        assert number is None or f"{number:,}" in row
    assert made.max_tokens is not None
    assert TOKENS_MIN <= made.max_tokens <= TOKENS_MAX


def test_every_known_parameter_has_its_line_in_one_order() -> None:
    """Known ones come first, in the order of the table, others after them by name; each value is quoted."""
    made = brief({
        "zeta": "z", "length": "short", "emoji": True, "hashtags": ["#a", "b"], "callToAction": "Sign up",
        "keywords": ["fast", "safe"], "audience": "CTOs", "language": "German", "brandVoice": "calm", "tone": "warm",
        "format": "list", "goal": "sales", "avoid": "cheap", "maxCharacters": 900, "platform": "linkedin", "alpha": 1.5,
        "flag": False,
    })  # fmt: skip
    assert requirements_of(made) == [
        '- Format: "list"', '- Tone: "warm"', '- Brand voice: "calm"', '- Language of the whole text: "German"',
        '- Audience: "CTOs"', '- Goal: "sales"', '- Keywords, each where it fits: "fast", "safe"',
        '- Words to avoid: "cheap"', '- Call to action: "Sign up"', '- Hashtags: "#a", "b"',
        "- Emoji: a few where they fit", "- Length: short, 40 to 80 words", "- Most characters: 900",
        "- alpha: 1.5", "- flag: no", '- zeta: "z"',
    ]  # fmt: skip
    assert made.character_limit == 900


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ({"brand_voice": "calm"}, '- Brand voice: "calm"'),
        ({"Target Audience": "parents"}, '- Audience: "parents"'),
        ({"includeHashtags": False}, "- Hashtags: none"),
        ({"includeHashtags": True}, "- Hashtags: some that fit"),
        ({"hashtags": 3}, "- Hashtags: at most 3"),
        ({"hashtags": 0}, "- Hashtags: none"),
        ({"hashtags": 9, "platform": "instagram"}, "- Hashtags: at most 5"),
        ({"emoji": "many"}, '- Emoji: "many"'),
        ({"cta": True}, "- Call to action: one, and a clear one"),
        ({"cta": False}, "- Call to action: none"),
        ({"length": " Medium "}, "- Length: medium, 150 to 250 words"),
        ({"length": "long", "platform": "blog"}, "- Length: long, 1,500 to 2,000 words"),
        ({"length": "short", "platform": "ad"}, "- Length: short, 3 headlines and 2 descriptions"),
        ({"length": 300}, "- Length: about 300 words"),
        ({"length": "a page"}, '- Length: "a page"'),
        ({"length": True}, "- Length: yes"),
        ({"maxCharacters": "few"}, '- Most characters: "few"'),
        ({"tone": ["warm", "witty"]}, '- Tone: "warm", "witty"'),
        ({"tone": 7}, "- Tone: 7"),
        ({"someKey": "value"}, '- someKey: "value"'),
        ({"some key": 1}, '- "some key": 1'),
        ({"": "x"}, '- "": "x"'),
    ],
)
def test_parameters_as_products_send_them(parameters: dict[str, Any], line: str) -> None:
    """Switches, numbers, lists, other spellings, other types: each becomes one line that says it."""
    assert requirements_of(brief(parameters)) == [line]


def test_what_is_empty_has_no_line() -> None:
    """A form sends empty fields: nothing is asked for by them."""
    assert brief({"tone": "", "keywords": [], "x": " \n\u200b", "list": ["", " "]}) == brief({})


def test_two_names_of_one_meaning_lose_nothing() -> None:
    """The first by name is the known one, the other one stays as a plain requirement."""
    made = brief({"brand_voice": "calm", "brandVoice": "bold"})
    assert requirements_of(made) == ['- Brand voice: "bold"', '- brand_voice: "calm"']


def test_long_values_are_cut_where_they_may_be() -> None:
    """A text keeps its first 1,000 characters, a list its first 32 items of 200 characters."""
    (text,) = requirements_of(brief({"other": "a" * 5000}))
    assert text == f'- other: "{"a" * (TEXT_MAX - 1)}…"'
    (items,) = requirements_of(brief({"other": ["b" * 300] * 40}))
    assert items == "- other: " + ", ".join([f'"{"b" * (ITEM_MAX - 1)}…"'] * ITEMS_MAX)


@pytest.mark.parametrize(
    ("parameters", "tokens"),
    [
        ({}, None),
        ({"tone": "warm"}, None),
        ({"length": "a page"}, None),
        ({"length": "short"}, 1_024),
        ({"length": "long"}, 4_800),
        ({"length": 500}, 4_000),
        ({"length": 20_000}, 8_192),
        ({"platform": "x"}, 1_024),
        ({"platform": "linkedin"}, 3_200),
        ({"platform": "linkedin", "length": "short"}, 1_024),
        ({"platform": "blog"}, 8_192),
        ({"maxCharacters": 3_000}, 3_000),
        ({"maxCharacters": -1}, None),
    ],
)
def test_the_cap_of_tokens_is_generous_and_bounded(parameters: dict[str, Any], tokens: int | None) -> None:
    """Eight tokens a word, at least 1,024 and at most 8,192; without anything to go by there is none."""
    assert brief(parameters).max_tokens == tokens


def test_the_example_of_the_docs_is_true() -> None:
    """The page shows parameters and the prompt that is made of them, word for word."""
    text = DOCS.read_text(encoding="utf-8")
    (parameters,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (system,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    made = brief(json.loads(parameters))
    assert made.system == system
    assert f"`max_tokens` {made.max_tokens:,}" in text
