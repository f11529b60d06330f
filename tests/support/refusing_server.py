"""States of a server in which it refuses writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.checks import RawRedis
from tests.support.processes import free_port
from tests.support.script_acts import Scene


@asynccontextmanager
async def _no_replica(scene: Scene) -> AsyncIterator[None]:
    await scene.raw("CONFIG", "SET", "min-replicas-to-write", 1)
    try:
        yield
    finally:
        await scene.raw("CONFIG", "SET", "min-replicas-to-write", 0)


@asynccontextmanager
async def _replica(scene: Scene) -> AsyncIterator[None]:
    await scene.raw("REPLICAOF", "127.0.0.1", free_port())
    try:
        yield
    finally:
        await scene.raw("REPLICAOF", "NO", "ONE")


@asynccontextmanager
async def _no_snapshot(scene: Scene) -> AsyncIterator[None]:
    """A folder is in the place of the snapshot."""
    obstacle = scene.folder / "dump.rdb"
    obstacle.unlink(missing_ok=True)
    (obstacle / "in the way").mkdir(parents=True)
    await scene.raw("CONFIG", "SET", "save", "3600 1")
    try:
        await _save(scene.raw, b"rdb_last_bgsave_status:err")
        yield
    finally:
        (obstacle / "in the way").rmdir()
        obstacle.rmdir()
        await _save(scene.raw, b"rdb_last_bgsave_status:ok")
        await scene.raw("CONFIG", "SET", "save", "")


async def _save(raw: RawRedis, wanted: bytes) -> None:
    await raw("BGSAVE")
    async with asyncio.timeout(30):
        while wanted not in (found := await raw("INFO", "persistence")) or b"bgsave_in_progress:1" in found:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def full(scene: Scene) -> AsyncIterator[None]:
    """No memory is left."""
    await scene.raw("CONFIG", "SET", "maxmemory", 1)
    try:
        yield
    finally:
        await scene.raw("CONFIG", "SET", "maxmemory", 0)


REFUSALS = {"NOREPLICAS": _no_replica, "MISCONF": _no_snapshot, "READONLY": _replica}
