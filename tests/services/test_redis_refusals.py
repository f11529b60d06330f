"""Rights and room that a Redis server takes away while services run: named once, and nothing needs a restart."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from shared.errors import StoreUnavailable, StoreUnfit
from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import open_store
from shared.store.preflight import checks
from shared.store.preflight.requirements import Role
from tests.services.conftest import REDIS
from tests.support.checks import RawRedis
from tests.support.processes import free_port
from tests.support.redis_rows import REFUSALS
from tests.support.redis_users import BROAD, KEYS, give_rights, missing, opened, ping_or_unfit
from tests.support.store import new_job, repeated


async def test_rights_that_are_taken_away_and_given_back(
    shared_server: EmbeddedServer, raw: RawRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal at run time makes a service check again: it is not ready and gives the reason, until it may again."""
    monkeypatch.setattr(checks, "AGAIN_S", 0.1)
    await give_rights(raw, Role.GATEWAY)
    async with opened(shared_server, Role.GATEWAY) as store:
        await repeated(lambda: store.submit(new_job()))
        await asyncio.sleep(0.15)
        await give_rights(raw, Role.GATEWAY, "-xadd", "-hset")
        with capture_logs() as lines:
            with pytest.raises(StoreUnavailable):
                await store.submit(new_job())
            with pytest.raises(StoreUnfit, match="HSET, XADD"):
                await ping_or_unfit(store)
            with pytest.raises(StoreUnfit):
                await store.submit(new_job())
            await give_rights(raw, Role.GATEWAY)
            await repeated(store.ping)
            await repeated(lambda: store.submit(new_job()))
    assert [line["event"] for line in lines if line["event"] != "redis_refused"] == ["redis_unfit", "redis_fit"]


async def test_only_who_writes_marks_a_new_master(
    shared_server: EmbeddedServer, raw: RawRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notifier runs no script, even if its user may. A gateway that could not do it at first does it as soon as
    it may: before anything else is served."""
    monkeypatch.setattr(checks, "AGAIN_S", 0.05)
    await raw("CONFIG", "RESETSTAT")
    await raw("ACL", "SETUSER", Role.NOTIFIER.value, "reset", "on", ">p", *BROAD)
    assert await missing(shared_server, Role.NOTIFIER) == ""
    assert b"cmdstat_eval" not in await raw("INFO", "commandstats")
    await give_rights(raw, Role.GATEWAY, "-eval")
    async with opened(shared_server, Role.GATEWAY) as store:
        with pytest.raises(StoreUnfit, match="may not run EVAL"):
            await ping_or_unfit(store)
        assert await raw("KEYS", "*") == []
        await give_rights(raw, Role.GATEWAY)
        await repeated(store.ping)
        await repeated(lambda: store.submit(new_job()))
        assert await raw("EXISTS", KEYS.fixed("failover")) == 1


async def test_later_refusals_are_one_line_each(shared_server: EmbeddedServer, raw: RawRedis) -> None:
    """Out of memory, no replica, a replica now: the line gives the fault and the remedy."""
    await give_rights(raw, Role.GATEWAY)
    said = {}
    async with opened(shared_server, Role.GATEWAY) as store:
        await ping_or_unfit(store)
        for name, breaking, mending in _breaking():
            for command in breaking:
                await raw(*command)
            with capture_logs() as lines:
                for _ in range(3):
                    with pytest.raises(Exception, match="Redis"):
                        await store.submit(new_job())
            for command in mending:
                await raw(*command)
            said[name] = [line["reason"] for line in lines if line["event"] == "redis_refused"]
            await repeated(store.ping)
        await repeated(lambda: store.submit(new_job()))
    for name, reasons in said.items():
        assert len(reasons) == 1
        assert reasons[0].startswith(REFUSALS[name])


def _breaking() -> list[tuple[str, list[tuple[str, ...]], list[tuple[str, ...]]]]:
    """By the code of a refusal: how a server is brought to it, and back."""
    config = ("CONFIG", "SET")
    return [
        ("OOM", [(*config, "maxmemory", "1")], [(*config, "maxmemory", "0")]),
        ("NOREPLICAS", [(*config, "min-replicas-to-write", "1")], [(*config, "min-replicas-to-write", "0")]),
        ("READONLY", [("REPLICAOF", "127.0.0.1", "1")], [("REPLICAOF", "NO", "ONE")]),
    ]


async def test_a_disk_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """The server refuses writes because it could not save: the line gives the fault and the place to check."""
    server = EmbeddedServer(tmp_path / "gone", port=free_port(), aof=False)
    server.start()
    url = f"redis://127.0.0.1:{server.port}"
    try:
        opening = open_store(StoreSettings(redis_url=url), client_name="t", role=Role.GATEWAY)
        async with RawRedis(url) as raw, opening as store:
            await repeated(lambda: store.submit(new_job()))
            await raw("CONFIG", "SET", "save", "3600 1")
            shutil.rmtree(tmp_path / "gone")
            await raw("BGSAVE")
            async with asyncio.timeout(30):
                while b"rdb_last_bgsave_status:err" not in await raw("INFO", "persistence"):
                    await asyncio.sleep(0.05)
            with capture_logs() as lines, pytest.raises(StoreUnavailable):
                await store.submit(new_job())
    finally:
        server.kill()
        server.stop()
    assert [line["reason"].startswith(REFUSALS["MISCONF"]) for line in lines] == [True]


async def test_channels_that_are_taken_away_are_missed(
    shared_server: EmbeddedServer, raw: RawRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that only listens and sleeps notices it too, and checks everything again."""
    monkeypatch.setattr(checks, "AGAIN_S", 0.1)
    await give_rights(raw, Role.WORKER)
    async with opened(shared_server, Role.WORKER) as store:
        await ping_or_unfit(store)
        await asyncio.sleep(0.15)
        await give_rights(raw, Role.WORKER, "resetchannels", "-bzpopmin")
        async with store.control("w1"), asyncio.timeout(30):
            while store.vetting is not None and store.vetting.fit:
                await asyncio.sleep(0.02)
        with pytest.raises(StoreUnfit, match=r"BZPOPMIN.*channels"):
            await ping_or_unfit(store)


@pytest.mark.parametrize("way", ["unix", "tcp"])
async def test_no_room_for_a_client_is_named(way: str, tmp_path: Path) -> None:
    """The server says so and closes before it was asked anything."""
    for binary in [None, *([Path(REDIS)] if REDIS else [])]:
        folder, options = tmp_path / str(binary is None), ("--maxclients", "1")
        with EmbeddedServer(folder, port=free_port(), aof=False, binary=binary, options=options) as server:
            url = server.url if way == "unix" else f"redis://127.0.0.1:{server.port}"
            async with RawRedis(server.url) as only:
                await only("PING")
                with capture_logs() as lines:
                    async with open_store(StoreSettings(redis_url=url), client_name="t") as store:
                        with pytest.raises(StoreUnavailable):
                            await store.ping()
        assert [line["reason"].startswith(REFUSALS["max number of clients reached"]) for line in lines] == [True]
