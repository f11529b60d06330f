"""Damaged code still runs: a test that fails by a syntax error has noticed nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shared.store.engine import scripts
from tests.mutation.listing import ROOT, Mutation, mutations
from tests.support.checks import RawRedis
from tests.support.node import NODE, run

LUA = Path("shared/store/lua")


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with a copy of the engine's scripts, from which they are loaded."""
    shutil.copytree(ROOT / LUA, tmp_path / LUA)
    monkeypatch.setattr(scripts, "_folder", lambda: tmp_path / LUA)
    return tmp_path


def _script_with(path: Path) -> str:
    """The script that a source file is, or the one of the most parts that it is a part of: nearest to Lua's limits."""
    if path.parent.name != "include":
        return path.stem
    having = [name for name in scripts.names() if path.stem in scripts.load(name).fragments]
    return max(having, key=lambda name: len(scripts.load(name).fragments))


async def _compile(raw: RawRedis, copy: Path, mutation: Mutation) -> None:
    path = copy / mutation.file
    sound = path.read_text(encoding="utf-8")
    path.write_text(mutation.damaged(copy), encoding="utf-8")
    await raw("SCRIPT", "LOAD", scripts.load.__wrapped__(_script_with(path)).source)
    path.write_text(sound, encoding="utf-8")


async def test_every_damaged_source_can_be_loaded(redis_url: str, copy: Path) -> None:
    """Redis compiles a script with each damage, Python each module with each of its own."""
    async with RawRedis(redis_url) as raw:
        for mutation in mutations():
            if mutation.file.endswith(".py"):
                compile(mutation.damaged(ROOT), mutation.name, "exec")
            elif mutation.file.endswith(".lua"):
                await _compile(raw, copy, mutation)


@pytest.mark.skipif(NODE is None, reason="node is not installed on this machine")
async def test_every_damaged_module_can_be_loaded(tmp_path: Path) -> None:
    """Node parses each module of the JavaScript client with each of its damages."""
    damaged = [mutation for mutation in mutations() if mutation.file.endswith(".js")]
    assert damaged
    for mutation in damaged:
        module = tmp_path / f"{mutation.name}.mjs"
        module.write_text(mutation.damaged(ROOT), encoding="utf-8")
        await run("node", "--check", module, folder=tmp_path)
