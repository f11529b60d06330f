"""Event tickets: they open one stream, for a browser that sends no header, and nothing else."""

from __future__ import annotations

import asyncio
import datetime
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from shared.identity import tickets
from shared.identity.ticket_signer import TicketSigner
from shared.identity.tickets import Ticket
from shared.settings import StoreSettings
from shared.store.job_store import open_store
from shared.telemetry.redaction import redacted
from tests.support.callers import KEYS, OPERATOR, TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.gateway import SUBMIT, body, problem, running_gateway
from tests.support.notifier import first_event, running_notifier
from tests.support.processes import ServiceProcess
from tests.support.store import KEYS as NAMES

TICKETS = "/api/ai/event-tickets"
UNKNOWN = "ai-job-1737465123456-0bc123def"


async def _submit(client: httpx.AsyncClient, key: dict[str, Any], organization: str = "alice") -> dict[str, Any]:
    answer = await client.post(SUBMIT, json=body(organizationId=organization), headers=bearer(key["key"]))
    assert answer.status_code == 202, answer.text
    submitted: dict[str, Any] = answer.json()
    return submitted


def _ticket(link: str) -> str:
    return parse_qs(urlsplit(link).query)["ticket"][0]


async def test_the_link_of_a_submit_opens_its_stream_and_no_other(redis_url: str) -> None:
    """At the gateway and at the notifier, again and again, without a header; another job is 404 as an unknown one, and
    no other call is served."""
    settings = StoreSettings(redis_url=redis_url)
    async with (
        running_gateway(redis_url, API_TOKENS=TOKENS) as client,
        running_notifier(settings, api_tokens=TOKENS) as notifier,
    ):
        key = await make_key(client, "alice")
        submitted, other = await _submit(client, key), await _submit(client, key)
        ticket = _ticket(submitted["links"]["events"])
        for origin in ("", notifier.url, notifier.url):
            status, first = await first_event(client, origin + submitted["links"]["events"])
            assert (status, "event: queued" in first) == (200, True)
            for job_id in (other["jobId"], UNKNOWN):
                answer = await client.get(f"{origin}/api/ai/job-events?jobId={job_id}&ticket={ticket}")
                assert answer.json() == problem(answer, 404, "not-found")
        for path in (
            f"/api/ai/job-status?jobId={submitted['jobId']}&ticket={ticket}",
            f"/api/ai/usage?ticket={ticket}",
        ):
            problem(await client.get(path), 401, "unauthorized")
        problem(await client.get(f"{submitted['links']['events']}&ticket={ticket}"), 400, "invalid-request")


async def test_a_ticket_is_made_for_a_job_that_runs_already(redis_url: str) -> None:
    """The call answers ticket, address and expiry; a foreign job is as good as none; a key without the right gets no
    ticket anywhere."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        alice, bob = await make_key(client, "alice"), await make_key(client, "bob")
        writer = await make_key(client, "alice", "jobs:write")
        submitted = await _submit(client, writer)
        assert "ticket" not in submitted["links"]["events"]
        answer = await client.post(TICKETS, json={"jobId": submitted["jobId"]}, headers=bearer(alice["key"]))
        made = answer.json()
        assert answer.status_code == 201
        assert made["events"].endswith(f"jobId={submitted['jobId']}&ticket={made['ticket']}")
        assert datetime.datetime.fromisoformat(made["expiresAt"]) > datetime.datetime.now(datetime.UTC)
        assert (await first_event(client, made["events"]))[0] == 200
        for wanted in ({}, {"jobId": submitted["jobId"], "organizationId": "alice"}):
            problem(await client.post(TICKETS, json=wanted, headers=bearer(alice["key"])), 400, "invalid-request")
        foreign = await client.post(TICKETS, json={"jobId": submitted["jobId"]}, headers=bearer(bob["key"]))
        problem(foreign, 404, "not-found")
        problem(await client.post(TICKETS, json=made, headers=bearer(writer["key"])), 403, "insufficient-scope")


@pytest.mark.parametrize("damage", [("RPUSH", "x"), ("SET", b"\xff\xfe")], ids=["of another kind", "no text"])
async def test_a_job_is_taken_though_no_ticket_can_be_made(redis_url: str, damage: tuple[str, str | bytes]) -> None:
    """It is accepted and will be paid for: whatever is wrong with the secrets costs the ticket alone."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client, RawRedis(redis_url) as raw:
        alice = await make_key(client, "alice")
        command, value = damage
        await raw(command, NAMES.fixed("ticket_secrets"), value)
        submitted = await _submit(client, alice)
        assert submitted["status"] == "queued"
        assert "ticket" not in submitted["links"]["events"]


async def test_a_ticket_for_an_organization_opens_its_events_alone(redis_url: str) -> None:
    """Neither another organisation's events, nor the stream of a job."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS, ORGANIZATION_EVENTS="1") as client:
        key = await make_key(client, "alice")
        made = (await client.post(TICKETS, json={"organizationId": "alice"}, headers=bearer(key["key"]))).json()
        assert (await first_event(client, made["events"]))[0] == 200
        problem(await client.get(made["events"].replace("alice", "bob", 1)), 403, "forbidden")
        job = await _submit(client, key)
        problem(await client.get(f"/api/ai/job-events?jobId={job['jobId']}&ticket={made['ticket']}"), 404, "not-found")
        wanted = {"organizationId": "bob"}
        problem(await client.post(TICKETS, json=wanted, headers=bearer(key["key"])), 403, "forbidden")


async def test_a_ticket_stands_and_falls_with_its_key(redis_url: str) -> None:
    """Revoked: its open stream ends, and it opens none. It never outlives a key that expires."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        key = await make_key(client, "alice", expiresAt="2099-01-01T00:00:00Z")
        submitted = await _submit(client, key)
        async with client.stream("GET", submitted["links"]["events"]) as stream, asyncio.timeout(20):
            pieces = stream.aiter_text()
            assert "event: queued" in await anext(pieces)
            await client.delete(f"{KEYS}/{key['id']}", headers=bearer(OPERATOR))
            assert "retry:" in "".join([piece async for piece in pieces])
        problem(await client.get(submitted["links"]["events"]), 401, "unauthorized")

        short = await make_key(client, "alice", expiresAt="2099-01-01T00:00:00Z")
        wanted = {"jobId": submitted["jobId"]}
        async with RawRedis(redis_url) as raw:
            await raw("HSET", NAMES.api_key(short["id"]), "expires", int(time.time() * 1000) + 60_000)
        made = (await client.post(TICKETS, json=wanted, headers=bearer(short["key"]))).json()
        ticket = tickets.verify(made["ticket"], await _secrets(redis_url))
        assert ticket is not None
        assert ticket.expires_at <= time.time() + 60


async def _secrets(redis_url: str) -> list[str]:
    async with RawRedis(redis_url) as raw:
        return str((await raw("GET", NAMES.fixed("ticket_secrets"))).decode()).split()


async def test_altered_expired_and_foreign_tickets_are_refused(redis_url: str) -> None:
    """A thousand of them: nothing is served, and the good one still is."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        submitted = await _submit(client, await make_key(client, "alice"))
        good = _ticket(submitted["links"]["events"])
        (secret,) = await _secrets(redis_url)
        known = tickets.verify(good, [secret])
        assert known is not None
        bad = [tickets.sign(known, "x" * 43)]
        bad += [tickets.sign(Ticket(known.organization_id, known.about, known.name, known.key_id, 1), secret)]
        bad += [tickets.sign(Ticket(known.organization_id, known.about, name, "", known.expires_at), secret)
                for name in ("token:000000000000", "anonymous")]  # fmt: skip
        for place in range(0, len(good), max(1, len(good) // 300)):
            other = "A" if good[place] != "A" else "B"
            bad += [good[:place] + other + good[place + 1 :], good[:place], good[place:][1:] or "v1"]
        for ticket in bad:
            if ticket:
                answer = await client.get(f"/api/ai/job-events?jobId={submitted['jobId']}&ticket={ticket}")
                assert answer.status_code in (401, 429), ticket
        assert (await first_event(client, submitted["links"]["events"]))[0] == 200


async def test_two_secrets_are_valid_during_a_rotation(redis_url: str) -> None:
    """Tickets of the secret before stay good after one rotation and not after two; a process that meets a ticket of a
    secret it does not know asks for it."""
    settings = StoreSettings(redis_url=redis_url)
    async with (
        open_store(settings, client_name="t") as store,
        running_gateway(redis_url, API_TOKENS=TOKENS) as client,
        running_notifier(settings, api_tokens=TOKENS) as notifier,
    ):
        key = await make_key(client, "alice")
        submitted = await _submit(client, key)
        link = notifier.url + submitted["links"]["events"]
        assert (await first_event(client, link))[0] == 200
        await store.ticket_secrets.rotate()
        secrets = await _secrets(redis_url)
        old = tickets.verify(_ticket(link), secrets)
        assert old is not None
        assert tickets.named_secret(_ticket(link)) == tickets.secret_name(secrets[1])
        signer = TicketSigner([], store.ticket_secrets, seconds=60, makes=True, frugal=False)
        assert await signer.open(tickets.sign(old, secrets[0])) == old
        assert (await first_event(client, link))[0] == 200
        await store.ticket_secrets.rotate()
        assert tickets.verify(_ticket(link), await _secrets(redis_url)) is None


async def test_tickets_and_keys_are_in_no_log_metric_or_error(redis_url: str, tmp_path: Path) -> None:
    """Good ones, bad ones and those of requests that fail: neither service says any part of them."""
    environment = {"REDIS_URL": redis_url, "API_TOKENS": TOKENS, "LOG_LEVEL": "DEBUG"}
    async with (
        ServiceProcess("gateway", environment, tmp_path / "gateway") as gateway,
        ServiceProcess("notifier", environment, tmp_path / "notifier") as notifier,
        httpx.AsyncClient(base_url=gateway.url, timeout=20) as client,
    ):
        key = await make_key(client, "alice")
        submitted = await _submit(client, key)
        ticket = _ticket(submitted["links"]["events"])
        answers = []
        for origin in (gateway.url, notifier.url):
            await first_event(
                client,
                f"{origin}{urlsplit(submitted['links']['events']).path}?jobId={submitted['jobId']}&ticket={ticket}",
            )
            for query in (
                f"jobId=x&ticket={ticket}",
                f"ticket={ticket}",
                f"ticket={ticket[:-1]}&jobId=x",
                f"%&ticket={ticket}",
            ):
                answers.append(await client.get(f"{origin}/api/ai/job-events?{query}"))
                answers.append(await client.post(f"{origin}/api/ai/job-events?{query}"))
            answers.append(await client.get(f"{origin}/metrics"))
        answers.append(await client.get(f"/api/ai/jobs?x={key['key']}", headers=bearer(key["key"] + "0")))
    said = [answer.text + str(answer.headers) for answer in answers]
    said += [service.log.read_text() for service in (gateway, notifier)]
    for secret in (ticket, ticket.split(".")[2], ticket.split(".")[3], key["key"][16:]):
        assert not any(secret in text for text in said)
    assert all(answer.headers["referrer-policy"] == "no-referrer" for answer in answers)
    assert redacted(f"failed: /api?ticket={ticket} {key['key']}") == "failed: /api?ticket=*** ***"
