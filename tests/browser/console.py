"""The console in Chromium, before a gateway that asks for keys."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.callers import OPERATOR, bearer
from tests.support.chromium import Page
from tests.support.gateway import BATCH, SUBMIT, body
from tests.support.stack import Stack

RECORD = """
window.bodies = [];
const real = window.fetch;
window.fetch = async (...call) => {
  const answer = await real(...call);
  answer.clone().text().then((text) => window.bodies.push(`${answer.url} ${text}`), () => {});
  return answer;
};
"""
"""Keeps the body of every answer that the page reads."""

_TYPE = """
(() => {
  const field = document.querySelector(SELECTOR);
  const prototype = Object.getPrototypeOf(field);
  Object.getOwnPropertyDescriptor(prototype, 'value').set.call(field, TEXT);
  field.dispatchEvent(new Event('input', {bubbles: true}));
  field.dispatchEvent(new Event('change', {bubbles: true}));
})()
"""

_BUTTON = """
['dialog[open] button, dialog[open] a', 'button, a'].flatMap((all) => [...document.querySelectorAll(all)])
  .find((one) => one.textContent.trim().startsWith(TEXT) && !one.disabled && one.getClientRects().length)
"""


@dataclass
class Console:
    """A page of the console, and the services behind it."""

    page: Page
    stack: Stack
    client: httpx.AsyncClient

    async def open(self, place: str = "") -> None:
        """Load the console again, at a place in it."""
        await self.page.open("about:blank")
        await self.page.open(f"{self.stack.gateway.url}/console/{place}")

    async def go(self, place: str) -> None:
        """Go to a place without loading the page again."""
        await self.page.evaluate(f"location.hash = {json.dumps(place)}")

    async def visit(self, place: str) -> None:
        """Go to a place, and wait until it has been read."""
        await self.go(f"#/{place}")
        await self.page.until(
            "document.querySelector('main h1, main h2') && !document.querySelector('main [aria-busy=true]')"
            f" && location.hash === {json.dumps(f'#/{place}')}"
        )

    async def sign_in(self, key: str = OPERATOR) -> None:
        """Exchange a key for a session."""
        await self.page.until("!!document.querySelector('#key')")
        await self.type("#key", key)
        await self.press("Sign in")
        await self.page.until("!!document.querySelector('.sidebar')")

    async def type(self, selector: str, text: str) -> None:
        """Give a field a value, as a person does who types it."""
        await self.page.until(f"!!document.querySelector({json.dumps(selector)})")
        await self.page.evaluate(_TYPE.replace("SELECTOR", json.dumps(selector)).replace("TEXT", json.dumps(text)))

    async def press(self, text: str) -> None:
        """Wait for a button, or a link, whose text begins so, and click on it; one of a dialog first."""
        found = _BUTTON.replace("TEXT", json.dumps(text))
        await self.page.until(f"Boolean({found})")
        await self.page.evaluate(f"{found}.click()")

    async def shows(self, text: str, *, seconds: float = 20) -> None:
        """Wait until the page shows a text."""
        await self.page.until(f"document.body.innerText.includes({json.dumps(text)})", seconds=seconds)

    async def has(self, text: str) -> bool:
        """Whether the page shows a text now."""
        return bool(await self.page.evaluate(f"document.body.innerText.includes({json.dumps(text)})"))

    async def submit(self, **changes: Any) -> str:
        """Submit a job as an operator; its id."""
        answer = await self.client.post(SUBMIT, json=body(**changes), headers=bearer(OPERATOR))
        return str(answer.raise_for_status().json()["jobId"])

    async def submit_many(self, count: int, **changes: Any) -> None:
        """Submit so many jobs, 500 in a call."""
        for first in range(0, count, 500):
            jobs = [body(**changes) for _ in range(min(500, count - first))]
            (await self.client.post(BATCH, json={"jobs": jobs}, headers=bearer(OPERATOR))).raise_for_status()

    async def until_counted(self, status: str, jobs: int) -> None:
        """Wait until so many jobs have this status."""
        async with asyncio.timeout(60):
            while True:
                answer = await self.client.get("/api/ai/queue-stats", headers=bearer(OPERATOR))
                if answer.json()["stats"][status] == jobs:
                    return
                await asyncio.sleep(0.05)

    async def open_failures(self) -> None:
        """Sign in on the page of failures with 30 of alice's and 20 of bob's. The demo provider must fail all jobs."""
        await self.submit_many(30, organizationId="alice", maxAttempts=1)
        await self.submit_many(20, organizationId="bob", maxAttempts=1)
        await self.until_counted("failed", 50)
        await self.open("#/failures")
        await self.sign_in()
        await self.shows("50 failed jobs")

    async def ended(self, job_id: str, status: str) -> None:
        """Wait for the end of a job, and check it."""
        parameters: dict[str, Any] = {"jobId": job_id, "wait": 20}
        answer = await self.client.get("/api/ai/job-status", params=parameters, headers=bearer(OPERATOR))
        assert answer.json()["status"] == status
