"""A page with tokens on, in Chromium: its server submits with a key, the browser reads the stream with the ticket."""

from __future__ import annotations

import json

import httpx

from tests.browser.conftest import BrowsingMaker
from tests.support.callers import TOKENS, bearer, make_key
from tests.support.gateway import SUBMIT, body

READ = """
window.text = ''; window.kinds = []; window.opened = 0;
const source = new EventSource(URL_OF_EVENTS);
source.onopen = () => { window.opened += 1; };
source.onerror = () => { if (source.readyState === EventSource.CLOSED) window.kinds.push('closed'); };
for (const kind of ['queued', 'processing', 'delta', 'gap', 'completed', 'failed']) {
  source.addEventListener(kind, (event) => {
    window.kinds.push(kind);
    if (kind === 'delta') window.text += JSON.parse(event.data).text;
    if (kind === 'completed') { window.result = JSON.parse(event.data).result; source.close(); }
  });
}
"""


async def test_a_stream_with_a_ticket_is_cut_and_resumed(browsing: BrowsingMaker) -> None:
    """EventSource comes back with the same address and misses nothing; a ticket of another job is final; the ticket is
    in no log."""
    settings = {"API_TOKENS": TOKENS, "NOTIFIER_STREAM_SECONDS": "0.5", "DEMO_TOKENS_PER_SECOND": "60"}
    async with browsing(**settings) as b, httpx.AsyncClient(base_url=b.stack.gateway.url, timeout=20) as client:
        key = await make_key(client, "org-789", "jobs:write", "events:read")
        content = body(parameters={"length": "long", "platform": "blog"})
        links = (await client.post(SUBMIT, json=content, headers=bearer(key["key"]))).json()["links"]
        other = (await client.post(SUBMIT, json=content, headers=bearer(key["key"]))).json()["links"]
        address = b.stack.notifier.url + links["events"]
        await b.page.evaluate(READ.replace("URL_OF_EVENTS", json.dumps(address)))
        await b.page.until("window.kinds.includes('completed')", seconds=40)
        assert await b.page.evaluate("window.opened") > 1
        assert await b.page.evaluate("window.text === window.result")
        kinds = await b.page.evaluate("window.kinds")
        assert kinds.count("queued") == kinds.count("completed") == 1
        assert not {"gap", "failed", "closed"} & set(kinds)

        wrong = json.dumps(f"{address.partition('&')[0]}&{other['events'].partition('&')[2]}")
        await b.page.evaluate(f"window.other = new EventSource({wrong})")
        await b.page.until("window.other.readyState === EventSource.CLOSED")
        logs = [service.log.read_text() for service in b.stack.services]
        b.page.complaints.clear()  # the browser's own word for the 404
    for link in (links, other):
        ticket = link["events"].partition("&ticket=")[2]
        assert len(ticket) > 80
        assert not any(ticket in log or ticket.rpartition(".")[2] in log for log in logs)
