"""The release of this tree, as in pyproject.toml."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
