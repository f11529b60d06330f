"""The documents: the console's one page, and the front page at `/`. Each has a policy of its own.

All their addresses are relative: they work below any path that a proxy puts before them.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from typing import Final

from services.gateway.console.assets import STATIC
from shared.version import VERSION

_INLINE: Final = re.compile(r'<script type="importmap">(.*?)</script>', re.DOTALL)

_POLICY: Final = (
    "default-src 'none'; script-src 'self'{hash}; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types presswork"
)
"""Everything comes from this origin, and no text becomes markup: the one script in the page is its import map, which
is allowed by its hash."""


class Page:
    """A document and its headers. `below`: the path of the assets, relative to the document."""

    def __init__(self, name: str, below: str, *, console: bool = True) -> None:
        text = (STATIC / name).read_text(encoding="utf-8")
        if not console:
            text = re.sub(r"<!-- console -->.*?<!-- end -->", "", text, flags=re.DOTALL)
        self.body = text.replace("{assets}", below).replace("{version}", html.escape(VERSION)).encode()
        self.headers = {
            "Content-Security-Policy": _POLICY.format(hash=_hash(self.body.decode())),
            "Cache-Control": "no-cache",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
        }


def _hash(text: str) -> str:
    """The source expression of the import map in a page; empty when it has none."""
    found = _INLINE.search(text)
    if found is None:
        return ""
    digest = hashlib.sha256(found[1].encode()).digest()
    return f" 'sha256-{base64.b64encode(digest).decode()}'"
