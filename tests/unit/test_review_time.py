"""Cost of a review of an answer: measured as CPU time, which no busy neighbour lengthens."""

from __future__ import annotations

import time

import pytest

from services.worker.prompting import brief, review
from services.worker.prompting.platforms import PLATFORMS

SIZE = 1 << 24
HOSTILE = {
    "words": "word ", "hashtags": "#a", "emoji": "😀\u200d", "marks": "\u0315\u0300", "addresses": "http://a.b ",
    "schemes": "http://", "domains": "a.", "lines": "\n", "labels": "Headline: x\n",
}  # fmt: skip


@pytest.mark.parametrize("platform", ["x", "linkedin", "googleads"])
def test_a_review_costs_little_however_long_the_text(platform: str) -> None:
    """An answer of 16 Mi characters is reviewed in a tenth of a second of CPU, with any content."""
    instructions = brief({"platform": platform})
    assert instructions.platform in PLATFORMS
    for name, piece in HOSTILE.items():
        text = piece * (SIZE // len(piece))
        began = time.thread_time()
        found = review(instructions, text)
        assert time.thread_time() - began < 0.1, name
        assert found is not None
        assert not found["withinLimit"]
