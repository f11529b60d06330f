"""Deletion of an organisation: nothing of it stays, nothing of another goes."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx

from services.worker.providers.demo import DemoProvider
from shared.job_ids import new_job_id
from shared.settings import StoreSettings
from shared.store import keys
from shared.store.erasure import OWNED
from shared.store.job_store import open_store
from tests.support.callers import OPERATOR, TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.gates import routing
from tests.support.gateway import SUBMIT, problem, running_gateway
from tests.support.store import KEYS, claim, settle, submit
from tests.support.worker import running_worker

PLANTED = "planted-organisation"
ORGANIZATIONS = "/api/admin/organizations"


async def _planted(raw: RawRedis, text: str) -> list[str]:
    """Names of the keys that hold a text, or have it in their names."""
    found = []
    for name in await raw("KEYS", "*"):
        kind = (await raw("TYPE", name)).decode()
        reads = {
            "string": ("GET", name), "hash": ("HGETALL", name), "list": ("LRANGE", name, 0, -1),
            "set": ("SMEMBERS", name), "zset": ("ZRANGE", name, 0, -1), "stream": ("XRANGE", name, "-", "+"),
        }  # fmt: skip
        if text.encode() in name or text in str(await raw(*reads[kind])):
            found.append(name.decode())
    return found


async def _submit(client: httpx.AsyncClient, key: dict[str, str], number: int, **more: Any) -> str:
    wanted = {"projectId": "p", "userId": "u", "prompt": f"{PLANTED} {number}", **more}
    answer = await client.post(SUBMIT, json=wanted, headers=key | {"Idempotency-Key": str(number)})
    assert answer.status_code == 202
    return str(answer.json()["jobId"])


async def test_nothing_of_it_stays(redis_url: str) -> None:
    """Ended, waiting, delayed and running jobs, usage, keys, settings, failures and trail go, under a worker that runs
    one of its jobs; another organisation keeps all; the receipt counts; one entry without the name stays."""
    settings = StoreSettings(redis_url=redis_url, lease_seconds=2.0)
    async with (
        running_gateway(redis_url, API_TOKENS=TOKENS, LEASE_SECONDS="2") as client, RawRedis(redis_url) as raw,
        open_store(settings, client_name="t", routing=routing("demo:demo")) as store,
    ):  # fmt: skip
        callers = {name: bearer((await make_key(client, name))["key"]) for name in (PLANTED, "other")}
        client.headers.update(bearer(OPERATOR))
        await settle(store, PLANTED, weight=3)
        await client.post(f"{ORGANIZATIONS}/{PLANTED}/blocked-users", json={"userId": PLANTED})
        kept = await _submit(client, callers["other"], 1, prompt="another")
        for number in range(5):
            await _submit(client, callers[PLANTED], number, delaySeconds=3600 if number == 4 else 0)
        (held,) = [one for one in await claim(store, 2, "held") if one.spec.organization_id == PLANTED]
        await store.cancel(held.job_id)
        assert KEYS.fixed("gates") in await _planted(raw, PLANTED)

        path = f"{ORGANIZATIONS}/{PLANTED}"
        problem(await client.delete(path, headers=callers["other"]), 403, "insufficient-scope")
        answer = await client.delete(path)
        assert answer.status_code == 202
        problem(await client.post(SUBMIT, json={}, headers=callers[PLANTED]), 401, "unauthorized")
        async with running_worker(store.settings, {"demo": DemoProvider(first_token_ms=0)}), asyncio.timeout(60):
            while (task := (await client.get(f"/api/admin/tasks/{answer.json()['taskId']}")).json())["state"] != "done":
                await asyncio.sleep(0.2)

        assert await _planted(raw, PLANTED) == []
        assert task["receipt"]["jobs"] >= 4
        assert min(task["receipt"].values()) >= 0
        assert (
            await client.get("/api/ai/job-status", params={"jobId": kept}, headers=callers["other"])
        ).status_code == 200
        trail = (await client.get("/api/admin/audit", params={"organizationId": "*"})).json()["entries"]
        assert trail[0]["action"] == "organization.deleted"
        assert len(trail[0]["details"]["organizationHash"]) == 32


async def test_one_that_begins_alike_keeps_all(redis_url: str) -> None:
    """Keys of an organisation are known by its whole name."""
    async with open_store(StoreSettings(redis_url=redis_url), client_name="t") as store:
        for name in ("a", "ab"):
            await settle(store, name, weight=2)
            await submit(store, 3, organization=name)
        found = [name async for _, names in store.erasure.pieces("a") for name in names]
    assert KEYS.prefix("backlog") + "a" in found
    assert [name for name in found if ":ab" in name] == []


async def test_it_is_not_done_while_a_job_is_left(redis_url: str) -> None:
    """A record that this release may not touch keeps the task running; once it is gone the task ends."""
    settings = StoreSettings(redis_url=redis_url, lease_seconds=1.0)
    foreign = keys.Keys().job(new_job_id())
    async with (
        running_gateway(redis_url, API_TOKENS=TOKENS, LEASE_SECONDS="1") as client, RawRedis(redis_url) as raw,
        running_worker(settings, {"demo": DemoProvider()}),
    ):  # fmt: skip
        client.headers.update(bearer(OPERATOR))
        await raw("HSET", foreign, "v", 99, "org", PLANTED, "state", "queued", "entry", "b")
        await make_key(client, PLANTED)
        task = f"/api/admin/tasks/{(await client.delete(f'{ORGANIZATIONS}/{PLANTED}')).json()['taskId']}"
        async with asyncio.timeout(60):
            # Its keys are deleted in each pass: the first one is over, and those after it change nothing more.
            while await raw("EXISTS", keys.Keys().organization_keys(PLANTED)):
                await asyncio.sleep(0.1)
        await asyncio.sleep(3 * settings.lease_seconds)  # longer than from the first pass to the end of the second
        assert (await client.get(task)).json()["state"] == "running"
        await raw("DEL", foreign)
        async with asyncio.timeout(60):
            while (await client.get(task)).json()["state"] != "done":
                await asyncio.sleep(0.1)


def test_every_key_that_names_an_organisation_is_known() -> None:
    """A kind of key that is added to the table is deleted too."""
    named = set(re.findall(r"(?m)^\| (\w+):<org>", keys.__doc__ or ""))
    assert named - {"settings"} == set(OWNED)
