"""Tickets at a notifier that cannot make any itself."""

from __future__ import annotations

import time

import httpx
import pytest

from shared.identity import tickets
from shared.identity.tickets import Ticket
from shared.settings import StoreSettings
from shared.store.job_store import open_store
from shared.store.preflight.requirements import Role, acl
from tests.support.callers import TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.gateway import SUBMIT, body, problem, running_gateway
from tests.support.notifier import first_event, running_notifier
from tests.support.store import KEYS as NAMES

UNKNOWN = "ai-job-1737465123456-0bc123def"


async def test_a_notifier_without_a_secret_asks_to_come_back(redis_url: str) -> None:
    """It may not write: until a gateway has made the secret it answers 200, `retry:` and closes; with TICKET_SECRET it
    needs none in Redis."""
    settings = StoreSettings(redis_url=redis_url)
    secret = "s" * 43
    ticket = tickets.sign(Ticket("alice", UNKNOWN, f"token:{TOKENS[:12]}", "", int(time.time()) + 60), secret)
    async with httpx.AsyncClient() as client:
        async with running_notifier(settings, api_tokens=TOKENS) as notifier:
            answer = await client.get(f"{notifier.events(UNKNOWN)}&ticket={ticket}")
            assert (answer.status_code, answer.text[:6]) == (200, "retry:")
        async with running_notifier(settings, api_tokens=TOKENS, ticket_secret=secret) as notifier:
            problem(await client.get(f"{notifier.events(UNKNOWN)}&ticket={ticket}"), 404, "not-found")
    async with RawRedis(redis_url) as raw:
        assert await raw("EXISTS", NAMES.fixed("ticket_secrets")) == 0


async def test_the_notifier_s_user_serves_tickets_without_the_right_to_write(redis_url: str) -> None:
    """The smallest user reads the key and the secret, and can change neither."""
    async with RawRedis(redis_url) as raw:
        await raw("ACL", "SETUSER", "reader", "reset", "on", ">p", *acl(Role.NOTIFIER, NAMES))
        try:
            reader = StoreSettings(redis_url=redis_url.replace("unix://", "unix://reader:p@"))
            async with (
                running_gateway(redis_url, API_TOKENS=TOKENS) as client,
                running_notifier(reader, api_tokens=TOKENS) as notifier,
            ):
                key = bearer((await make_key(client, "alice"))["key"])
                submitted = (await client.post(SUBMIT, json=body(organizationId="alice"), headers=key)).json()
                assert (await first_event(client, notifier.url + submitted["links"]["events"]))[0] == 200
            async with open_store(reader, client_name="t") as store:
                for name in (NAMES.fixed("ticket_secrets"), NAMES.api_key("0" * 12)):
                    with pytest.raises(Exception, match="NOPERM"):
                        await store._reads.execute("SET", name, "x")
        finally:
            await raw("ACL", "DELUSER", "reader")
