"""A new operator's first five tasks in the console, each within so many clicks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest_asyncio

from tests.browser.conftest import ConsoleMaker
from tests.browser.console import Console
from tests.support.callers import OPERATOR, bearer, make_key
from tests.support.llm import LlmServer, llm_server_at
from tests.support.llm_behaviour import Behaviour, Failing

GATE = "openai:gpt-6-luna"
ORGANIZATION = "/api/admin/organizations/org-3"


@pytest_asyncio.fixture(loop_scope="session")
async def provider(llm_port: int) -> AsyncIterator[LlmServer]:
    """The simulated provider, in the event loop of the browser."""
    async with llm_server_at(llm_port) as server:
        yield server


class Trial:
    """Works through tasks as a person does, from the overview; counts the clicks."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.page = console.page
        self.clicks = 0

    @asynccontextmanager
    async def task(self, most: int) -> AsyncIterator[None]:
        """A task, done within `most` clicks; it begins at the overview."""
        self.clicks = 0
        await self.console.go("#/overview")
        await self.console.shows("What is wrong now")
        yield
        assert self.clicks <= most

    async def press(self, text: str) -> None:
        """Click on a button or a link whose text begins so."""
        self.clicks += 1
        await self.console.press(text)

    async def click(self, selector: str) -> None:
        """Click on an element, once it is there."""
        self.clicks += 1
        await self.page.until(f"!!document.querySelector({json.dumps(selector)})")
        await self.page.click(selector)

    async def type(self, selector: str, text: str) -> None:
        """Click into a field, and type."""
        self.clicks += 1
        await self.console.type(selector, text)


async def _find_why_jobs_wait(trial: Trial) -> None:
    async with trial.task(most=3):
        await trial.press("Organisations")
        await trial.click('a[href*="organizationId=org-3"][href*="status=queued"]')
        await trial.click(".grid-row")
        await trial.console.shows("The provider asked to wait")
        await trial.console.shows(f"{GATE} accepts no more calls for now")


async def _end_the_outage(trial: Trial) -> None:
    async with trial.task(most=3):
        await trial.press("Show the gate")
        await trial.press("Unblock")
        await trial.console.shows("3 jobs wait for it now")
        await trial.press("Unblock 1 gate")
        await trial.console.shows(f"Unblocked 1 gate, {GATE}.")


async def _redrive_the_failures(trial: Trial) -> None:
    async with trial.task(most=3):
        await trial.press("Failures")
        await trial.press("Retry 2")
        await trial.press("Retry 2 jobs")
        await trial.console.shows("Retried 2 jobs.", seconds=60)


async def _raise_a_budget(trial: Trial) -> None:
    async with trial.task(most=4):
        await trial.press("Organisations")
        await trial.console.shows("of $5.00")
        await trial.click('[aria-label="Change org-3"]')
        await trial.console.shows("0: nothing may be spent")
        await trial.type("#of-monthUsd", "25")
        await trial.press("Change 1 organisation")
        await trial.console.shows("of $25.00")


async def _revoke_a_key(trial: Trial) -> None:
    async with trial.task(most=3):
        await trial.press("Keys")
        await trial.click('[aria-label="Revoke the key backend of org-3"]')
        await trial.press("Revoke 1 key")
        await trial.console.shows("Revoked 1 key, backend of org-3.")


async def test_a_new_operator_does_five_tasks_in_few_clicks(console: ConsoleMaker, provider: LlmServer) -> None:
    """Find why jobs wait, end a provider's outage, redrive its failures, raise a budget, revoke a key: each ends with
    a line that says what was done, and is done."""
    settings = {
        "PROVIDERS": GATE,
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": provider.openai_url,
        "OPENAI_PRICED": "1",
    }
    async with console(**settings) as c:
        key = (await make_key(c.client, "org-3", "jobs:read", label="backend of org-3"))["key"]
        budget = {"budget": {"monthUsd": 5}}
        (await c.client.patch(ORGANIZATION, json=budget, headers=bearer(OPERATOR))).raise_for_status()
        await provider.behave(Behaviour(fail=Failing(status=400)))
        await c.submit_many(2, organizationId="org-4")
        await c.until_counted("failed", 2)
        await provider.behave(Behaviour(fail=Failing(status=429, retry_after=600)))
        await c.submit_many(3, organizationId="org-3")
        await c.until_counted("throttled", 3)

        await c.open()
        await c.sign_in()
        trial = Trial(c)
        await _find_why_jobs_wait(trial)
        await provider.behave(Behaviour(tokens=4))
        await _end_the_outage(trial)
        await c.until_counted("completed", 3)
        await _redrive_the_failures(trial)
        await c.until_counted("completed", 5)
        await _raise_a_budget(trial)
        await _revoke_a_key(trial)

        changed = (await c.client.get(ORGANIZATION, headers=bearer(OPERATOR))).json()
        assert changed["budget"]["monthUsd"] == 25
        assert (await c.client.get("/api/ai/queue-stats", headers=bearer(str(key)))).status_code == 401
