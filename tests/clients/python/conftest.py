"""Services that keep running from test to test, and no setting of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from presswork_client.settings import VARIABLES

from tests.e2e.conftest import fleet, stack

__all__ = ["fleet", "stack"]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Callers are as the test makes them."""
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PRESSWORK_CONFIG", str(tmp_path / "no-config.toml"))
