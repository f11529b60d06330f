"""KEY_PREFIX: two environments on one server have nothing in common but the server."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from shared.errors import SettingsInvalid
from shared.settings import StoreSettings, read_store
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import open_store
from shared.store.keys import FIXED, PREFIXES, Keys
from tests.support.checks import RawRedis
from tests.support.stack import running_stack
from tests.support.store import claim, new_job, submit

JOBS = 12


@pytest.mark.parametrize("prefix", ["", "a b", "a{b}", "a*", "a?", "[a]", "a\\", ":a", "ä", "a" * 65, "a\n", "a|b"])
def test_what_would_mean_something_elsewhere_is_refused(prefix: str) -> None:
    """A brace would be a cluster's hash tag, a star a pattern of channels and rules. Empty is unset."""
    if prefix.strip() == "":
        assert read_store({"REDIS_URL": "redis://h", "KEY_PREFIX": prefix}).key_prefix == "pw"
    with pytest.raises(SettingsInvalid, match="KEY_PREFIX: must be"):
        StoreSettings(redis_url="redis://h", key_prefix=prefix)


def test_no_name_is_another_environment_s() -> None:
    """For all prefixes, also one that begins like another. All of one share the cluster's slot."""
    prefixes = ("pw", "pw:", "pw:staging", "pw-staging", "p", "PW")
    every = [Keys(prefix=prefix) for prefix in prefixes]
    names = [name for keys in every for name in (*map(keys.fixed, FIXED), *map(keys.prefix, PREFIXES))]
    assert len(set(names)) == len(prefixes) * (len(FIXED) + len(PREFIXES))
    patterns = [keys.pattern[:-1] for keys in every]
    assert all(not one.startswith(other) for one in patterns for other in patterns if one != other)
    assert all("{0}" in name for name in names)
    assert Keys().fixed("wake") == "pw:{0}:wake"


async def test_every_key_begins_with_it(url: str, raw: RawRedis) -> None:
    """The life of jobs leaves no key outside, and another environment sees and claims nothing of it."""
    ours = StoreSettings(redis_url=url, key_prefix="staging", organization_events=True)
    theirs = StoreSettings(redis_url=url)
    async with open_store(ours, client_name="t") as one, open_store(theirs, client_name="t") as other:
        await submit(one, 3, "high")
        await one.submit(new_job(delay_ms=60_000, idempotency_key="k", fingerprint="f"))
        held = await claim(one, 1)
        await one.append(held[0], 2, "some")
        await one.maintenance.audit("w1")
        assert not (await other.claim("w2", 10, poll=True, suspect=True)).claims
        assert (await other.queries.stats()).queued == 0
        await other.maintenance.audit("w2")
        assert (await one.queries.stats()).queued == 3
        keys = await raw("KEYS", "*")
        assert {key.decode().split("{0}")[0] for key in keys} == {"staging:", "pw:"}
        assert b"staging:{0}:job:" + held[0].job_id.encode() in keys


@pytest.mark.slow
async def test_two_whole_stacks_share_a_server(server: EmbeddedServer, redis_url: str, tmp_path: Path) -> None:
    """Production and staging, each with all its services: every job is run by its own worker, every stream is of its
    own, and the counts are one's own."""
    assert redis_url == server.url
    async with AsyncExitStack() as exits:
        stacks = []
        for prefix in ("pw", "staging"):
            folder = tmp_path / prefix
            folder.mkdir()
            settings = {"KEY_PREFIX": prefix, "DEMO_FIRST_TOKEN_MS": "20", "DEMO_TOKENS_PER_SECOND": "400"}
            stacks.append(await exits.enter_async_context(running_stack(server, folder, settings)))
        jobs = [await asyncio.gather(*(stack.submit(number) for number in range(JOBS))) for stack in stacks]
        for stack, ids in zip(stacks, jobs, strict=True):
            readings = await asyncio.gather(*(stack.follow(job_id) for job_id in ids))
            assert all(reading.kinds[-1] == "completed" for reading in readings)
        for stack in stacks:
            assert (await stack.stats())["completed"] == JOBS
            worker = 'presswork_jobs_finished_total{outcome="completed"}'
            assert await stack.metric(stack.workers[0], worker) == JOBS
        own, foreign = jobs[0][0], jobs[1][0]
        for job_id, status in ((own, 200), (foreign, 404)):
            url = f"{stacks[0].gateway.url}/api/ai/job-status"
            assert (await stacks[0].client.get(url, params={"jobId": job_id})).status_code == status
