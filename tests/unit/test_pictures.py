"""The pictures in the documentation."""

from __future__ import annotations

import re

from tests.browser.pictures import DOCUMENTED, PICTURES
from tests.support.processes import ROOT

ALL_MAX = 600_000
"""Bytes of all pictures together: they are cloned with the code."""


def test_every_picture_is_shown_and_small() -> None:
    """Each that `make pictures` writes is in a page, with a text for those who do not see it; no page shows another."""
    shown = {
        name: alt
        for page in (ROOT / "docs").glob("*.md")
        for alt, name in [
            *re.findall(r"!\[([^\]]+)\]\(images/(\S+?)\)", page.read_text(encoding="utf-8")),
            *(found[::-1] for found in re.findall(r'<img src="images/(\S+?)" alt="([^"]+)"', page.read_text("utf-8"))),
        ]
    }
    files = {path.name: path.stat().st_size for path in PICTURES.iterdir()}
    assert set(shown) == set(files) == {f"{picture.name}.webp" for picture in DOCUMENTED}
    assert min(files.values()) > 1000
    assert sum(files.values()) <= ALL_MAX
