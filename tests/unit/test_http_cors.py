"""CORS_ALLOWED_ORIGINS: its entries are those that browsers send, or the start refuses them."""

from __future__ import annotations

import pytest

from shared.errors import SettingsInvalid
from shared.http.cors import Cors, allowed_origins


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", []),
        (" , ", []),
        ("*", ["*"]),
        ("http://localhost:3000/, https://App.Example.com", ["http://localhost:3000", "https://app.example.com"]),
        ("http://[::1]:3000,capacitor://localhost", ["http://[::1]:3000", "capacitor://localhost"]),
    ],
)
def test_origins_are_read_as_browsers_write_them(text: str, origins: list[str]) -> None:
    """A slash at the end and large letters, which no browser sends, are no reason to fail in silence."""
    assert allowed_origins(text) == origins
    assert all(Cors(text).allows(origin.encode()) for origin in origins)
    assert Cors(text).allows(b"https://evil.example.com") == (origins == ["*"])


@pytest.mark.parametrize(
    "text", ["localhost:3000", "app.example.com", "https://app.example.com/page", "https://", "http://a b", "null"]
)
def test_what_no_browser_sends_is_refused(text: str) -> None:
    """One line that names the setting: such an entry would let no page in."""
    with pytest.raises(SettingsInvalid, match=r"^CORS_ALLOWED_ORIGINS: expected origins"):
        allowed_origins(f"https://good.example.com,{text}")
