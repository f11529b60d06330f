"""The console's files, read and compressed when the gateway starts.

Their addresses hold a digest of them all, so that browsers keep them for as long as they are the same.
"""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Final

import msgspec

STATIC: Final = Path(__file__).parent / "static"

_MEDIA: Final = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
"""Kinds of files that are served; others in the folder are records of their origin."""

_COMPRESSED: Final = frozenset({".woff2"})
"""Kinds that are compressed as they are."""


class Asset(msgspec.Struct, frozen=True):
    """One file. `packed`: the same with gzip; None: it would not be smaller."""

    media: str
    body: bytes
    packed: bytes | None


class Assets:
    """All files below `static` that pages load. `digest` changes with any of them."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): _read(path)
            for path in sorted(folder.rglob("*"))
            if path.suffix in _MEDIA
        }
        known = hashlib.sha256()
        for name, asset in self._files.items():
            known.update(name.encode() + b"\0" + asset.body)
        self.digest = known.hexdigest()[:16]

    def find(self, name: str) -> Asset | None:
        """The file of this name, as in `app/main.js`; None: there is none."""
        return self._files.get(name)

    @property
    def names(self) -> list[str]:
        """The names of all files."""
        return list(self._files)


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    if path.suffix in _COMPRESSED:
        return Asset(_MEDIA[path.suffix], body, None)
    packed = gzip.compress(body, 9, mtime=0)
    return Asset(_MEDIA[path.suffix], body, packed if len(packed) < len(body) else None)
