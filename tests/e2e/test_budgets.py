"""A budget over HTTP, with real processes and the real SDK: 200 jobs at once, and a worker that is killed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.job import NANO
from tests.e2e.conftest import StackMaker
from tests.e2e.test_providers import OPENAI, settings, submit_many
from tests.support.budgets import Sums, true_sums
from tests.support.checks import RawRedis
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(300)

ORGANIZATION = "/api/admin/organizations/org-789"


async def _usage(running: Stack) -> dict[str, Any]:
    answer = await running.client.get(running.gateway.url + ORGANIZATION)
    return dict(answer.raise_for_status().json()["usage"])


async def test_a_budget_holds_while_a_worker_is_killed(stack: StackMaker, llm: LlmServer) -> None:
    """Of 200 jobs as many run as fit. After kill -9 nothing stays reserved that does not run, and in the end
    the organisation has spent what its jobs cost, and no more than its budget; then submits are refused."""
    budget = 0.001
    async with stack(workers=2, LEASE_SECONDS="2", **settings(llm, PROVIDERS=OPENAI)) as running:
        await llm.behave(Behaviour(tokens=200, gap_s=0.01))
        change = {"budget": {"monthUsd": budget, "dayUsd": budget}}
        (await running.client.patch(running.gateway.url + ORGANIZATION, json=change)).raise_for_status()
        ids = await submit_many(running, 200, maxTokens=200)
        await (await running.busy_worker()).kill()

        async with asyncio.timeout(120):
            while (stats := await running.stats())["completed"] == 0 or stats["processing"]:
                usage = await _usage(running)
                assert usage["spentMonthUsd"] + usage["reservedUsd"] <= budget + 1e-12
                await asyncio.sleep(0.05)
        usage = await _usage(running)
        async with RawRedis(running.server.url) as raw:
            true = await true_sums(raw, ids, "org-789")
        assert true == Sums(round(usage["spentMonthUsd"] * NANO), round(usage["reservedUsd"] * NANO))
        assert true.reserved == 0
        assert 0 < usage["spentDayUsd"] <= budget

        spent = {"budget": {"dayUsd": usage["spentDayUsd"]}}
        (await running.client.patch(running.gateway.url + ORGANIZATION, json=spent)).raise_for_status()
        wanted = {"projectId": "p", "userId": "u", "organizationId": "org-789", "prompt": "x"}
        refused = await running.client.post(f"{running.gateway.url}/api/ai/generate-content", json=wanted)
        assert (refused.status_code, refused.json()["limit"]) == (402, "day")
