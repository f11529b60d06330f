"""The whole system as processes on one private server that keeps its data."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from shared.store.embedded.server import EmbeddedServer
from tests.support.stack import Stack, running_stack

StackMaker = Callable[..., AbstractAsyncContextManager[Stack]]


@pytest.fixture
def stack(tmp_path: Path) -> StackMaker:
    """`async with stack(workers=2, LEASE_SECONDS="2") as running`: settings are the services' environment."""

    @asynccontextmanager
    async def make(workers: int = 1, **settings: str) -> AsyncIterator[Stack]:
        with EmbeddedServer(tmp_path / "data") as server:
            async with running_stack(server, tmp_path, settings, workers=workers) as running:
                yield running

    return make
