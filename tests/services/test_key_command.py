"""`python -m services.gateway keys`: the first key is made without HTTP."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from shared.http.auth import Scope
from shared.identity.key_text import PATTERN, id_of
from tests.support.callers import KEYS, bearer
from tests.support.gateway import problem, running_gateway
from tests.support.processes import ROOT


def _keys(redis_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.gateway", "keys", *arguments], capture_output=True, text=True, timeout=30,
        cwd=ROOT, check=False, env={"PATH": os.environ["PATH"], "REDIS_URL": redis_url},
    )  # fmt: skip


async def test_the_first_key_opens_the_door(redis_url: str) -> None:
    """The command prints the key alone; with it an operator makes the others; `list` and `revoke` do what they say."""
    made = _keys(redis_url, "create", "--organization", "*", "--scope", "admin", "--scope", "stats:read")
    key = made.stdout.strip()
    assert (made.returncode, made.stderr) == (0, "")
    assert re.fullmatch(PATTERN, key)
    key_id = id_of(key)
    assert key_id is not None
    async with running_gateway(redis_url, API_KEYS="1") as client:
        problem(await client.get("/api/ai/queue-stats"), 401, "unauthorized")
        assert (await client.get("/api/ai/queue-stats", headers=bearer(key))).status_code == 200
        wanted = {"organizationId": "alice", "scopes": ["jobs:read"]}
        assert (await client.post(KEYS, json=wanted, headers=bearer(key))).status_code == 201
        listed = _keys(redis_url, "list")
        assert key not in listed.stdout
        assert [line.split("\t")[1] for line in listed.stdout.splitlines()] == ["*", "alice"]
        assert _keys(redis_url, "revoke", key_id).returncode == 0
        problem(await client.get("/api/ai/queue-stats", headers=bearer(key)), 401, "unauthorized")


def test_a_first_key_is_made_where_no_operator_has_one(redis_url: str) -> None:
    """It may do everything and is made once; after its revocation there is a new one."""
    made = _keys(redis_url, "create-first")
    key_id = id_of(made.stdout.strip())
    assert (made.returncode, made.stderr) == (0, "")
    assert key_id is not None
    listed = _keys(redis_url, "list").stdout.split("\t")
    assert (listed[1], set(listed[2].split())) == ("*", set(map(str, Scope)))
    assert _keys(redis_url, "create-first").stdout == ""
    assert _keys(redis_url, "revoke", key_id).returncode == 0
    assert _keys(redis_url, "create", "--organization", "a", "--scope", "admin").returncode == 0
    assert id_of(_keys(redis_url, "create-first").stdout.strip()) not in (None, key_id)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("create", "--organization", "a b", "--scope", "admin"), 2, "--organization"),
        (("create", "--organization", "a", "--scope", "all"), 2, "--scope"),
        (("create", "--organization", "a", "--scope", "admin", "--days", "0"), 2, "--days"),
        (("revoke", "0" * 12), 1, "no such key"),
        (("revoke", "x"), 2, "12 characters"),
        ((), 2, "usage"),
    ],
)
def test_a_wrong_argument_is_named(redis_url: str, arguments: tuple[str, ...], status: int, said: str) -> None:
    """Nothing is made, and the exit status says whose fault it is."""
    ended = _keys(redis_url, *arguments)
    assert (ended.returncode, ended.stdout) == (status, "")
    assert said in ended.stderr
