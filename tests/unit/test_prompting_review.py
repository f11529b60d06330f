"""Counting as the platforms count, and the review of a finished text."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.prompting import brief, review
from services.worker.prompting.counting import display_width, utf16_units, x_weight


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("", 0),
        ("This is a test.", 15),
        ("http://test.com", 23),
        ("https://test.com/a/very/long/path?with=a&query=of#many-characters", 23),
        ("test.com", 23),
        ("Test https://test.com test https://test.com test.com test", 86),
        ("(https://example.org/a_(b)).", 23 + 1 + 3),
        ("Ends here: example.co.uk/x.", 11 + 23 + 1),
        ("mail me@example.com", 19),
        ("a file.txt and v1.2.3", 21),
        ("https://", 8),
        ("見てhttps://t.co/abc見て", 4 + 23 + 4),
        ("cafe\u0301", 4),
        ("日本語", 6),
        ("한국어", 6),
        ("привет", 6),
        ("مرحبا", 5),
        ("“quoted” \u2013 dash…", 17),
        ("H🐱☺", 5),
        ("👨‍👩‍👧‍👦", 2),
        ("👋🏽", 2),
        ("🇩🇪🇫🇷", 4),
        ("1️⃣", 2),
        ("❤️", 2),
        ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", 2),
        ("© 2026", 6),
        ("の" * 140, 280),
        ("#hashtag @name", 14),
    ],
)
def test_x_weighs_characters(text: str, weight: int) -> None:
    """URLs 23, emoji 2 however many code points, CJK 2, the rest 1, after NFC (docs.x.com, counting characters)."""
    assert x_weight(text) == weight


@given(st.text(), st.text())
def test_weights_are_bounded(one: str, other: str) -> None:
    """A text without URLs weighs at most two a code point; more text with a space between weighs more."""
    assert 0 <= x_weight(one.replace(".", " ").replace(":", " ")) <= 2 * len(one)
    assert x_weight(f"{one} {other}") >= min(x_weight(one), 1) + 1


def test_a_long_text_is_weighed_in_time() -> None:
    """Neither endless words nor half of a URL again and again cost more than their length."""
    for text in ("a" * 200_000, "a.a." * 50_000, "https://a" * 20_000, "a-" * 100_000, "https://" + "a" * 100_000):
        assert x_weight(text) > 0


@pytest.mark.parametrize("line", ["Headline", "**Description 2**", "Headline 1:", "***", "x"])
@pytest.mark.parametrize("blank", [" ", "* ", "_"])
def test_a_label_before_nothing_is_read_in_time(line: str, blank: str) -> None:
    """A model may be talked into any text: a hundred thousand blanks behind a label hold up no other job."""
    started = time.process_time()
    review(brief({"platform": "ad"}), line + blank * 100_000 + "x")
    assert time.process_time() - started < 1.0


def test_other_counts() -> None:
    """UTF-16 units count characters beyond the basic plane twice; display width counts wide ones twice."""
    assert (utf16_units("a👋"), utf16_units("日本")) == (3, 2)
    assert (display_width("abc"), display_width("日本"), display_width("é")) == (3, 4, 1)


def _review(text: str, **parameters: Any) -> dict[str, object] | None:
    return review(brief(parameters), text)


def test_what_has_no_limit_is_not_reviewed() -> None:
    """Without a platform or a limit there is nothing to say."""
    assert _review("text", tone="warm") is None
    assert _review("text", platform="mastodon") is None


@pytest.mark.parametrize(
    ("platform", "fits"),
    [("x", 280), ("linkedin", 3_000), ("facebook", 63_206), ("tiktok", 2_200), ("instagram", 2_200)],
)
def test_a_text_is_measured_against_its_platform(platform: str, fits: int) -> None:
    """The last character that fits and the first that does not."""
    inside, outside = _review("a" * fits, platform=platform), _review("a" * (fits + 1), platform=platform)
    assert inside is not None
    assert outside is not None
    assert (inside["platform"], inside["characters"], inside["characterLimit"]) == (platform, fits, fits)
    assert (inside["withinLimit"], outside["withinLimit"]) == (True, False)


def test_the_platforms_own_count_decides() -> None:
    """141 CJK characters are too many for X, 2,199 and an emoji too many for TikTok, a long URL is not."""
    assert _review("の" * 141, platform="x") == {
        "platform": "x", "characters": 282, "characterLimit": 280, "withinLimit": False,
    }  # fmt: skip
    tiktok = _review("a" * 2_199 + "👋", platform="tiktok")
    assert tiktok is not None
    assert (tiktok["characters"], tiktok["withinLimit"]) == (2_201, False)
    link = _review("https://example.com/" + "a" * 500, platform="x")
    assert link is not None
    assert (link["characters"], link["withinLimit"]) == (23, True)


def test_a_customers_own_limit_counts_too() -> None:
    """The tighter of both; without a platform it is in code points."""
    assert _review("a" * 101, maxCharacters=100) == {"characters": 101, "characterLimit": 100, "withinLimit": False}
    own = _review("a", platform="x", maxCharacters=1_000)
    assert own is not None
    assert own["characterLimit"] == 280


def test_instagram_takes_five_hashtags() -> None:
    """Numbers alone, fragments of URLs and marks within words are none."""
    five = "#a #b_c #ü #日本 #e1 &#39; #1 x#y https://e.org/#z"
    found = _review(five, platform="instagram")
    assert found is not None
    assert (found["hashtags"], found["hashtagLimit"], found["withinLimit"]) == (5, 5, True)
    more = _review(five + " #f", platform="instagram")
    assert more is not None
    assert (more["hashtags"], more["withinLimit"]) == (6, False)


def test_an_ad_is_measured_line_by_line() -> None:
    """Headlines of 30 and descriptions of 90, double-width characters twice, however the label is decorated."""
    text = (
        f"Headline: {'a' * 30}\n**Headline 2:** {'b' * 31}\nheadline 3\uff1a {'日' * 15}\n\nDescription: {'c' * 90}\n"
    )
    found = _review(text, platform="ad")
    assert found is not None
    assert found["parts"] == [
        {"part": "headline", "characters": 30, "characterLimit": 30, "withinLimit": True},
        {"part": "headline", "characters": 31, "characterLimit": 30, "withinLimit": False},
        {"part": "headline", "characters": 30, "characterLimit": 30, "withinLimit": True},
        {"part": "description", "characters": 90, "characterLimit": 90, "withinLimit": True},
    ]
    assert found["withinLimit"] is False
    good = _review("Headline: a\nDescription: b", platform="ad")
    assert good is not None
    assert good["withinLimit"] is True
    without = _review("Buy now!", platform="ad")
    assert without is not None
    assert (without["parts"], without["withinLimit"]) == ([], False)


def test_an_email_needs_a_subject_that_fits() -> None:
    """The first line's label counts, not a word in the body."""
    good = _review("Subject: Hello\n\nThe subject is clear.", platform="email")
    assert good is not None
    assert good["parts"] == [{"part": "subject", "characters": 5, "characterLimit": 60, "withinLimit": True}]
    assert good["withinLimit"] is True
    bad = _review("Hello\n\nNo subject matter: none.", platform="email")
    assert bad is not None
    assert bad["withinLimit"] is False


@given(st.text(), st.sampled_from(["x", "linkedin", "instagram", "facebook", "tiktok", "email", "blog", "ad"]))
def test_any_text_can_be_reviewed(text: str, platform: str) -> None:
    """For any text of a model the review is small, names the platform and decides."""
    found = _review(text, platform=platform)
    assert found is not None
    assert found["platform"] == platform
    assert isinstance(found["withinLimit"], bool)
