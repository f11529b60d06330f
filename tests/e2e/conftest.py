"""The whole system as processes on one private server that keeps its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.support.fleet import Fleet
from tests.support.stack import Stack

StackMaker = Callable[..., AbstractAsyncContextManager[Stack]]


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The services of this test worker."""
    with Fleet(tmp_path_factory.mktemp("fleet")) as kept:
        yield kept


@pytest.fixture
def stack(fleet: Fleet, tmp_path: Path) -> StackMaker:
    """`async with stack(workers=2, LEASE_SECONDS="2") as running`: settings are the services' environment."""

    def make(workers: int = 1, **settings: str) -> AbstractAsyncContextManager[Stack]:
        return fleet.running(tmp_path, workers, settings)

    return make
