"""Pages of other origins, in Chromium, can do nothing, also when their name was pointed at us."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest_asyncio

from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from tests.support.chromium import Page
from tests.support.gateway import body, running_gateway
from tests.support.notifier import running_notifier

EVIL, FRIEND = "evil.example", "friend.example"
"""Names of foreign sites, which lead to this machine; the second is allowed."""

SECRET = "a prompt that is nobody else's business"

READS = """
(async () => {
  const seen = {};
  const tried = async (name, attempt) => {
    try { seen[name] = await attempt(); } catch (e) { seen[name] = 'refused'; }
  };
  const element = (tag, url) => new Promise((done) => {
    const made = document.createElement(tag);
    made.onload = () => done('loaded'); made.onerror = () => done('refused');
    made.src = url; document.body.append(made);
  });
  const events = (url) => new Promise((done) => {
    const source = new EventSource(url);
    source.onerror = () => { source.close(); done('refused'); };
    for (const kind of ['queued', 'gap', 'processing']) source.addEventListener(kind, (e) => done(e.data));
  });
  const text = async (url, options) => (await fetch(url, options)).text();
  await tried('status', () => text(URLS.status));
  await tried('stats', () => text(URLS.stats));
  await tried('documents', () => text(URLS.document));
  await tried('metrics', () => text(URLS.metrics));
  await tried('events', () => events(URLS.events));
  await tried('ownEvents', () => events(URLS.ownEvents));
  await tried('script', () => element('script', URLS.status));
  await tried('scriptOfEvents', () => element('script', URLS.events));
  await tried('asset', () => element('script', URLS.asset));
  return JSON.stringify(seen);
})()
"""

CHANGES = """
(async () => {
  const tried = async (attempt) => { try { await attempt(); } catch (e) { /* refused */ } };
  for (const mode of ['no-cors', 'cors']) {
    for (const kind of ['text/plain', 'application/json']) {
      await tried(() => fetch(URLS.submit, {method: 'POST', mode, headers: {'Content-Type': kind}, body: BODY}));
    }
    await tried(() => fetch(URLS.cancel, {method: 'POST', mode}));
  }
  navigator.sendBeacon(URLS.cancel, '');
  const form = document.createElement('form');
  const frame = document.createElement('iframe');
  frame.name = 'hidden'; form.action = URLS.cancel; form.method = 'post'; form.target = 'hidden';
  document.body.append(frame, form);
  const loaded = new Promise((done) => { frame.onload = done; });
  form.submit();
  await loaded;
  return 'done';
})()
"""


class _Blank(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><body>Free kittens</body>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name for it
        """Say nothing."""


class _Site:
    """A gateway and a notifier; `foreign` is the port of a site with one empty page."""

    def __init__(self, client: httpx.AsyncClient, notifier: str, foreign: int) -> None:
        self.client, self.foreign = client, foreign
        self.gateway, self.notifier = str(client.base_url).rstrip("/"), notifier

    async def submit(self) -> str:
        """A job that waits for an hour."""
        accepted = await self.client.post("/api/ai/generate-content", json=body(prompt=SECRET, delaySeconds=3600))
        return str(accepted.json()["jobId"])

    async def counts(self) -> dict[str, int]:
        """The jobs there are, by state."""
        return dict((await self.client.get("/api/ai/queue-stats")).json()["stats"])

    def attack(self, script: str, job_id: str, host: str = "127.0.0.1") -> str:
        """The script with its addresses, under this name for the two services."""
        gateway, notifier = (f"http://{host}:{urlsplit(url).port}" for url in (self.gateway, self.notifier))
        api, job = f"{gateway}/api/ai", f"jobId={job_id}"
        named = {
            "status": f"{api}/job-status?{job}", "stats": f"{api}/queue-stats", "document": f"{gateway}/openapi.json",
            "events": f"{notifier}/api/ai/job-events?{job}", "ownEvents": f"{api}/job-events?{job}",
            "submit": f"{api}/generate-content", "cancel": f"{api}/jobs/{job_id}/cancel",
            "metrics": f"{notifier}/metrics", "asset": f"{gateway}/docs/assets/swagger-ui-bundle.js",
        }  # fmt: skip
        return f"var URLS = {json.dumps(named)}; var BODY = {json.dumps(json.dumps(body()))};\n{script}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(server: EmbeddedServer) -> AsyncIterator[_Site]:
    """One for all tests: each has its own job and page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Blank)) as blank:
        threading.Thread(target=blank.serve_forever, daemon=True).start()
        friend = f"http://{FRIEND}:{blank.server_port}"
        async with (
            running_gateway(server.url, CORS_ALLOWED_ORIGINS=friend) as client,
            running_notifier(StoreSettings(redis_url=server.url), cors_allowed_origins=friend) as notifier,
        ):
            yield _Site(client, notifier.url, blank.server_port)
        blank.shutdown()


async def _read(page: Page, attack: str) -> dict[str, Any]:
    return dict(json.loads(await page.evaluate(attack)))


async def test_a_foreign_page_neither_reads_nor_changes(site: _Site, page: Page) -> None:
    """Another port of this machine and another site: no answer is read, no script or stream loads, nothing changes."""
    job = await site.submit()
    before = await site.counts()
    for host in (EVIL, "127.0.0.1"):
        await page.open(f"http://{host}:{site.foreign}/")
        seen = await _read(page, site.attack(READS, job))
        assert set(seen.values()) == {"refused"}, seen
        assert await page.evaluate(site.attack(CHANGES, job)) == "done"
    assert await site.counts() == before


async def test_a_page_whose_name_was_pointed_at_us_reads_nothing(site: _Site, page: Page) -> None:
    """After a rebind the page is of the same origin as the service: the name alone differs, and is refused."""
    job = await site.submit()
    before = await site.counts()
    for service in (site.gateway, site.notifier):
        await page.pretend(f"http://{EVIL}:{urlsplit(service).port}/")
        seen = await _read(page, site.attack(READS, job, EVIL))
        reported = [value for value in seen.values() if value not in ("refused", "loaded")]
        assert reported
        assert all("misdirected-request" in value for value in reported), seen
        assert await page.evaluate(site.attack(CHANGES, job, EVIL)) == "done"
    assert await site.counts() == before


async def test_an_allowed_page_reads_and_changes(site: _Site, page: Page) -> None:
    """The same attempts from an origin that is allowed succeed, so the failures above prove something."""
    job = await site.submit()
    await page.open(f"http://{FRIEND}:{site.foreign}/")
    seen = await _read(page, site.attack(READS, job))
    assert all(job in seen[name] for name in ("status", "events")), seen
    assert seen["script"] == "refused"
    tracing = "{'sentry-trace': 'a-b-1', baggage: 'a=b', traceparent: 'x', 'X-Requested-With': 'fetch'}"
    code = f"(async () => (await fetch(URLS.cancel, {{method: 'POST', headers: {tracing}}})).status)()"
    assert await page.evaluate(site.attack(code, job)) == 200


async def test_an_example_is_executed_as_it_is_offered(site: _Site, page: Page) -> None:
    """The page at /docs: Try it out, Execute, 202; its policy stops nothing that it needs."""
    await page.open(f"{site.gateway}/docs")
    block = "#operations-jobs-submitJob"
    for step in (".opblock-summary-control", ".try-out__btn", ".execute"):
        await page.until(f"document.querySelector('{block} {step}') !== null")
        await page.click(f"{block} {step}")
    status = f"document.querySelector('{block} .live-responses-table .response .response-col_status')"
    assert (await page.until(f"{status} && {status}.textContent")).startswith("202")
    assert page.complaints == []
