"""Commands of operators, each against running services: failures and their redrive, gates, workers, organisations."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from presswork_client import AsyncPresswork
from presswork_client.cli.main import application

from tests.clients.python.command import Command
from tests.e2e.conftest import StackMaker
from tests.support.callers import OPERATOR, TOKENS, bearer
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(300)


async def test_failures_of_one_cause_are_redriven_once(stack: StackMaker, tmp_path: Path) -> None:
    """20 failed jobs are counted; another number than there are is refused; a redrive makes as many new jobs."""
    async with stack(API_TOKENS=TOKENS, DEMO_FAILURE_RATE="1", DEMO_TOKENS_PER_SECOND="0", MAX_ATTEMPTS="1") as running:
        command = Command(running.gateway.url, PRESSWORK_API_KEY=OPERATOR, PRESSWORK_ORGANIZATION="alice")
        if "does not serve" in (await command("failures")).err:
            pytest.skip("this gateway does not serve failures")
        lines = tmp_path / "jobs.jsonl"
        lines.write_text("".join(f'{{"prompt": "Write {number}"}}\n' for number in range(20)), encoding="utf-8")
        assert (await command("submit", lines)).status == 0
        async with asyncio.timeout(60):
            while json.loads((await command("watch", "--count", 1, "--json")).out)["failed"] < 20:
                pass
        groups = json.loads((await command("failures", "--group-by", "errorType", "--json")).out)
        cause = groups[0]["errorType"]
        unsure = await command("redrive", "--error-type", cause)
        wrong = await command("redrive", "--error-type", cause, "--expected", 19, "--yes")
        before = json.loads((await command("watch", "--count", 1, "--json")).out)
        redriven = await command("redrive", "--error-type", cause, "--yes", "--json")
        after = json.loads((await command("watch", "--count", 1, "--json")).out)
    assert [(group["errorType"], group["count"]) for group in groups] == [(cause, 20)]
    assert (unsure.status, "--expected 20" in unsure.err) == (2, True)
    assert (wrong.status, "20" in wrong.err) == (1, True)
    assert json.loads(redriven.out).items() >= {"state": "done", "done": 20, "count": 20}.items()
    assert sum(after[name] for name in ("queued", "processing", "failed")) - before["failed"] == 20


class Operator:
    """An operator's command line; its own jobs are of the organisation `alice`."""

    def __init__(self, running: Stack) -> None:
        self._running = running
        self.command = Command(running.gateway.url, PRESSWORK_API_KEY=OPERATOR, PRESSWORK_ORGANIZATION="alice")

    async def __call__(self, *words: object) -> Any:
        """The JSON of a command that must succeed."""
        ended = await self.command(*words, "--json")
        assert (ended.status, ended.err) == (0, ""), words
        return json.loads(ended.out)

    async def begin(self, **more: Any) -> str:
        """A new job, which is not waited for; its id."""
        body = {"projectId": "p", "userId": "u", "organizationId": "alice", "prompt": "Write", **more}
        answer = await self._running.client.post(
            f"{self._running.gateway.url}/api/ai/generate-content", json=body, headers=bearer(OPERATOR)
        )
        return str(answer.raise_for_status().json()["jobId"])

    async def waits(self, job_id: str, reason: str) -> None:
        """Wait until a job waits for this reason; TimeoutError when it never does."""
        async with asyncio.timeout(30):
            while (await self("job", job_id)).get("waiting", {}).get("reason") != reason:
                pass

    async def completes(self, job_id: str) -> bool:
        """Whether a job completes."""
        return (await self.command("job", job_id, "--wait", 30)).status == 0


async def test_gates_and_the_queue_are_paused_and_resumed(stack: StackMaker) -> None:
    """A job waits, which `job` says, until calls may pass again."""
    async with stack(API_TOKENS=TOKENS, DEMO_TOKENS_PER_SECOND="0") as running:
        operator = Operator(running)
        (paused,) = await operator("gates", "--pause", "demo:demo")
        first = await operator.begin()
        await operator.waits(first, "paused")
        table = await operator.command("gates")
        (resumed,) = await operator("gates", "--resume", "demo:demo")
        assert await operator.completes(first)
        unknown = await operator.command("gates", "--pause", "nobody:nothing")

        assert await operator("queue", "--pause") == {"paused": True}
        second = await operator.begin()
        await operator.waits(second, "paused")
        assert await operator("queue") == {"paused": True}
        both = await operator.command("queue", "--pause", "--resume")
        assert await operator("queue", "--resume") == {"paused": False}
        assert await operator.completes(second)
    assert (paused["state"], resumed["state"]) == ("paused", "available")
    assert table.out.startswith("demo:demo\tpaused\t")
    assert (unknown.status, both.status) == (1, 2)


async def test_a_worker_is_drained_and_takes_jobs_again(stack: StackMaker) -> None:
    """By the name that the list has."""
    async with stack(API_TOKENS=TOKENS, DEMO_TOKENS_PER_SECOND="0", LEASE_SECONDS="2") as running:
        operator = Operator(running)
        async with asyncio.timeout(30):
            while not (found := await operator("workers")):
                pass
        name = found[0]["name"]
        (drained,) = await operator("workers", "--drain", name)
        async with asyncio.timeout(60):  # it is obeyed within a third of a lease
            while (held := await operator("job", job := await operator.begin(), "--wait", 2))["status"] == "completed":
                pass
        table = await operator.command("workers")
        (resumed,) = await operator("workers", "--resume", name)
        assert await operator.completes(job)
        unknown = await operator.command("workers", "--drain", "nobody")
    assert (drained["draining"], resumed["draining"], held["status"]) == (True, False, "queued")
    assert table.out.startswith(f"{name}\tTrue\tTrue\t")
    assert unknown.status == 1


async def test_organizations_get_limits_and_budgets(stack: StackMaker) -> None:
    """Changed one by one, listed, taken away again; a budget of nothing refuses the next job."""
    async with stack(API_TOKENS=TOKENS, DEMO_TOKENS_PER_SECOND="0") as running:
        operator = Operator(running)
        changed = await operator(
            "organizations", "alice", "--weight", 3, "--slot-share", 20, "--month-usd", 250, "--day-usd", "0.5",
            "--limit", "submitsPerMinute=60", "--limit", "runningJobs=5",
        )  # fmt: skip
        table = await operator.command("organizations")
        listed = await operator("organizations")
        back = await operator("organizations", "alice", "--day-usd", "none", "--limit", "runningJobs=none")
        await operator("organizations", "alice", "--pause")
        paused = await operator.command("run", "Write")
        await operator("organizations", "alice", "--resume")
        assert (await operator.command("run", "Write", "--max-cost-usd", 0.5)).status == 0
        wrong = await operator.command("organizations", "alice", "--limit", "runningJobs")
    assert (changed["weight"], changed["slotShare"], changed["budget"]) == (
        3,
        20,
        {"monthUsd": 250, "dayUsd": 0.5, "projects": {}},
    )
    assert changed["limits"].items() >= {"submitsPerMinute": 60, "runningJobs": 5}.items()
    assert table.out.startswith("alice\t3\tFalse\t0\t0\t")
    assert [row["id"] for row in listed] == ["alice"]
    assert (back["budget"], back["limits"]["runningJobs"]) == ({"monthUsd": 250, "dayUsd": None, "projects": {}}, None)
    assert (paused.status, "paused" in paused.err) == (1, True)
    assert (wrong.status, "name=number" in wrong.err) == (2, True)


async def test_projects_get_budgets_of_their_own(stack: StackMaker) -> None:
    """Each named with its amount, a month and a day apart; one that is taken away is gone, the others stay."""
    async with stack(API_TOKENS=TOKENS, workers=0) as running:
        operator = Operator(running)
        changed = await operator(
            "organizations", "alice", "--project-month-usd", "search=20", "--project-day-usd", "search=1.5",
            "--project-month-usd", "a=b=5",
        )  # fmt: skip
        back = await operator(
            "organizations", "alice", "--project-month-usd", "search=none", "--project-day-usd", "search=none"
        )
        shown = await operator.command("organizations", "alice")
        wrong = [
            await operator.command("organizations", "alice", "--project-month-usd", given)
            for given in ("search", "=5", "search=much")
        ]
    assert changed["budget"] == {
        "monthUsd": None, "dayUsd": None,
        "projects": {"search": {"monthUsd": 20, "dayUsd": 1.5}, "a=b": {"monthUsd": 5, "dayUsd": None}},
    }  # fmt: skip
    assert back["budget"]["projects"] == {"a=b": {"monthUsd": 5, "dayUsd": None}}
    assert "a=b" in shown.out
    assert [one.status for one in wrong] == [2, 2, 2]
    assert "--project-month-usd search: expected project=USD" in wrong[0].err


async def test_a_job_brings_its_limit_of_cost_and_its_schema(stack: StackMaker, tmp_path: Path) -> None:
    """From the command line and from Python, as the service keeps them."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    (tmp_path / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    (tmp_path / "none.json").write_text("[]", encoding="utf-8")
    async with stack(API_TOKENS=TOKENS, DEMO_TOKENS_PER_SECOND="0") as running:
        operator = Operator(running)
        made = await operator.command("run", "Write", "--schema", tmp_path / "schema.json", "--max-cost-usd", 0.25)
        wrong = await operator.command("run", "Write", "--schema", tmp_path / "none.json")
        async with AsyncPresswork(running.gateway.url, OPERATOR, organization="alice") as client:
            job = await client.submit("Write", max_cost_usd=0.25, response_schema=schema, delay_seconds=600)
            asked = await client.call("GET", f"/api/ai/jobs/{job.id}/request")
    assert (made.status, json.loads(made.out).keys()) == (0, {"a"})
    assert (asked["maxCostUsd"], asked["responseSchema"]) == (0.25, schema)
    assert (wrong.status, "--schema" in wrong.err) == (2, True)


async def test_every_command_has_json(stack: StackMaker, tmp_path: Path) -> None:
    """One document, or one a line where output comes bit by bit; a new command gets its line here."""
    (tmp_path / "jobs.jsonl").write_text('"Write"\n', encoding="utf-8")
    async with stack(API_TOKENS=TOKENS, DEMO_TOKENS_PER_SECOND="0") as running:
        operator = Operator(running)
        done, late = await operator.begin(), await operator.begin(delaySeconds=600)
        assert await operator.completes(done)
        key = await operator("keys", "create", "--scope", "jobs:read", "--organization", "alice")
        words: dict[str, list[object]] = {
            "run": ["Write"], "watch": ["--count", 2], "submit": [tmp_path / "jobs.jsonl"], "jobs": [], "job": [done],
            "cancel": [late], "retry": [late], "delete": [done], "failures": [], "gates": [], "queue": [],
            "workers": [], "organizations": [], "usage": [], "keys": ["rotate", key["id"]],
        }  # fmt: skip
        for name, more in words.items():
            ended = await operator.command(name, *more, "--json")
            assert ended.status == 0, (name, ended.err)
            for document in ended.out.splitlines() if name in ("run", "watch", "submit") else [ended.out]:
                json.loads(document)
    assert {name for name in application() if not name.startswith("-")} == words.keys() | {"redrive"}
