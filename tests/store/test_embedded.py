"""The embedded server keeps its data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.job import JobSpec
from shared.job_ids import new_job_id
from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer, EmbeddedServerFailed
from shared.store.job_store import open_store
from shared.store.transitions import Submit
from tests.support.checks import RawRedis


def _job() -> Submit:
    return Submit(id=new_job_id(), spec=JobSpec(project_id="p", user_id="u", organization_id="o", prompt="x"))


async def _queued(server: EmbeddedServer) -> int:
    async with open_store(StoreSettings(redis_url=server.url), client_name="test") as store:
        return (await store.queries.stats()).queued


@pytest.mark.parametrize("ending", ["stop", "kill"])
async def test_jobs_are_there_after_a_restart(tmp_path: Path, ending: str) -> None:
    """A job that the disk has is still queued after the server stopped cleanly, or was killed, and started again.

    On a slow disk `everysec` lets up to 2 s of writes wait in the process (docs/durability.md): a kill loses these.
    """
    server = EmbeddedServer(tmp_path / "data")
    server.start()
    async with open_store(StoreSettings(redis_url=server.url), client_name="test") as store:
        await store.submit(_job())
    if ending == "kill":
        async with RawRedis(server.url) as raw:
            assert (await raw("WAITAOF", 1, 0, 0))[0] == 1
    getattr(server, ending)()
    server.start()
    try:
        assert await _queued(server) == 1
    finally:
        server.stop()


def test_a_second_server_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Two servers on one append-only file would destroy it, so the second one fails with one line."""
    with EmbeddedServer(tmp_path / "data"), pytest.raises(EmbeddedServerFailed, match="another embedded server"):
        EmbeddedServer(tmp_path / "data").start()


def test_stop_leaves_no_process(tmp_path: Path) -> None:
    """After `stop` the process is gone and the folder is free."""
    server = EmbeddedServer(tmp_path / "data")
    server.start()
    pid = server.pid
    server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with EmbeddedServer(tmp_path / "data") as again:
        assert again.running


def test_a_deep_folder_gets_a_short_socket(tmp_path: Path) -> None:
    """A path too long for a Unix socket moves only the socket, not the data."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with EmbeddedServer(deep) as server:
        assert (deep / "appendonlydir").is_dir()
        assert len(str(server.socket_path)) < 100


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The error carries the end of the server's log."""
    with pytest.raises(EmbeddedServerFailed, match="did not start"):
        EmbeddedServer(tmp_path / "data", options=("--no-such-option", "1")).start()
