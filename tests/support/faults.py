"""Makes methods raise errors that they should never raise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest


def breaks(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, times: float) -> Callable[[], int]:
    """Make the method raise an unexpected error so often; yields the count."""
    real: Callable[..., Awaitable[Any]] = getattr(owner, name)
    raised = 0

    async def broken(*arguments: Any, **more: Any) -> Any:
        nonlocal raised
        if raised < times:
            raised += 1
            raise FileNotFoundError("a file of the release")
        return await real(*arguments, **more)

    monkeypatch.setattr(owner, name, broken)
    return lambda: raised
