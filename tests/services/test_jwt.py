"""JWTs of an identity provider: which are taken for whom, and which never."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from shared.errors import SettingsInvalid
from shared.identity.jwt_settings import check_jwt
from shared.identity.settings import IdentitySettings
from shared.setting_values import read
from tests.support.callers import KEYS, TOKENS, bearer, make_key
from tests.support.gateway import SUBMIT, body, problem, running_gateway
from tests.support.identity_provider import (
    AUDIENCE,
    EC,
    ED,
    ISSUER,
    OTHER,
    PEM,
    RSA,
    WEAK,
    Provider,
    claims,
    running_provider,
    token,
)  # fmt: skip

LISTING = "/api/ai/jobs"
SETTINGS = {"JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE, "API_TOKENS": TOKENS}


@pytest.fixture
def provider() -> Iterator[Provider]:
    """An identity provider."""
    with running_provider() as running:
        yield running


@pytest.fixture
async def client(redis_url: str, provider: Provider) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that trusts it."""
    async with running_gateway(redis_url, JWT_JWKS_URL=provider.url, **SETTINGS) as running:
        yield running


@pytest.mark.parametrize(
    ("key", "kid", "algorithm"),
    [
        (RSA, "rsa", "RS256"),
        (RSA, "rsa", "PS512"),
        (EC, "ec", "ES256"),
        (ED, "ed", "EdDSA"),
        (OTHER, "only-ps", "PS256"),
    ],
)
async def test_a_good_token_is_its_organization(client: httpx.AsyncClient, key: Any, kid: str, algorithm: str) -> None:
    """It submits without naming the organisation, reads what is its own, and gets a ticket in its links; another
    organisation's jobs and rights that it lacks are refused."""
    user = bearer(token(key=key, kid=kid, algorithm=algorithm))
    own = {name: value for name, value in body().items() if name != "organizationId"}
    submitted = (await client.post(SUBMIT, json=own, headers=user)).json()
    jobs = (await client.get(LISTING, headers=user)).json()["jobs"]
    assert [(job["jobId"], job["organizationId"]) for job in jobs] == [(submitted["jobId"], "alice")]
    async with client.stream("GET", submitted["links"]["events"]) as stream:
        assert stream.status_code == 200
    problem(await client.post(SUBMIT, json=body(), headers=user), 403, "forbidden")
    problem(await client.get("/api/ai/queue-stats", headers=user), 403, "insufficient-scope")
    problem(await client.get(KEYS, headers=user), 403, "insufficient-scope")


@pytest.mark.parametrize(
    ("content", "granted"),
    [
        ({"scope": "jobs:read"}, True),
        ({"scope": None, "scp": ["jobs:read"]}, True),
        ({"scope": None, "permissions": ["jobs:read", 5]}, True),
        ({"scope": None}, False),
        ({"scope": ["jobs:reads"], "scp": {"jobs:read": True}}, False),
        ({"aud": ["other", AUDIENCE]}, True),
    ],
)
async def test_scopes_and_lists(client: httpx.AsyncClient, content: dict[str, Any], granted: bool) -> None:
    """Words or lists, under three names; without any there are no rights."""
    answer = await client.get(LISTING, headers=bearer(token(claims(**content))))
    if granted:
        assert answer.status_code == 200
    else:
        problem(answer, 403, "insufficient-scope")


def _unsigned(algorithm: str) -> str:
    parts = [{"alg": algorithm, "typ": "at+jwt", "kid": "rsa"}, claims()]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def _bad() -> dict[str, str]:
    good = token()
    head, _, signature = good.split(".")
    other = token(claims(org_id="bob")).split(".")[1]
    return {
        **{f"without {name}": token(claims(**{name: None})) for name in ("exp", "iss", "aud", "sub", "org_id")},
        **{
            f"{name} {value!r}": token(claims(**{name: value}))
            for name, value in (
                ("exp", int(time.time()) - 61), ("iss", "https://id.example.com"), ("aud", "other"), ("sub", ""),
                ("org_id", "*"), ("org_id", "a b"), ("org_id", ["alice"]), ("nbf", int(time.time()) + 300),
                ("iat", int(time.time()) + 300), ("sub", "x" * 256), ("sub", "half \ud83d"),
                ("exp", str(int(time.time()) + 300)), ("exp", 1e300 * 1e300), ("org_id", {"alice": 1}),
            )
        },
        "no algorithm": _unsigned("none"),
        "shared secret": token(key="x" * 64, algorithm="HS256"),
        "shared secret of the set": token(key=b"secret-secret-secret-secret-secret", algorithm="HS256", kid="shared"),
        "foreign key": token(key=OTHER),
        "unknown key": token(key=OTHER, kid="nobody"),
        "good key by another name": token(kid="nobody"),
        "no key named": token(kid=None),
        "weak key": token(key=WEAK, kid="weak"),
        "key for encryption": token(key=OTHER, kid="enc"),
        "another algorithm than the key's": token(key=OTHER, kid="only-ps"),
        "another kind of key": token(key=EC, algorithm="ES256", kid="rsa"),
        "other type": token(typ="id+jwt"),
        "no type": token(typ=None),
        "critical": token(crit=["b64"], b64=True),
        "other content": f"{head}.{other}.{signature}",
        "cut": good[:-2],
        "longer": good + "A",
        "too long": token(claims(more="x" * 9000)),
        "no token": "a.b.c",
    }  # fmt: skip


async def test_bad_tokens_are_refused(redis_url: str, provider: Provider) -> None:
    """Expired, foreign, altered, of another kind or for another service: never served, with the good one served all
    the while."""
    async with running_gateway(redis_url, JWT_JWKS_URL=provider.url, TRUSTED_PROXIES="127.0.0.1", **SETTINGS) as client:
        for place, (name, bad) in enumerate(_bad().items()):
            headers = bearer(bad) | {"X-Forwarded-For": f"192.0.2.{place}"}
            answer = await client.get(LISTING, headers=headers)
            assert answer.status_code == 401, (name, answer.text)
        assert (await client.get(LISTING, headers=bearer(token()))).status_code == 200


async def test_only_a_setting_makes_an_administrator(redis_url: str) -> None:
    """With JWT_ADMIN=1 the scope counts, for its own organisation alone; a public key as a setting needs no key set."""
    admin = bearer(token(claims(scope="admin jobs:read"), kid=None))
    fixed = {**SETTINGS, "JWT_PUBLIC_KEY": PEM}
    async with running_gateway(redis_url, **fixed) as client:
        problem(await client.get(KEYS, headers=admin), 403, "insufficient-scope")
    async with running_gateway(redis_url, JWT_ADMIN="1", **fixed) as client:
        await make_key(client, "bob")
        assert (await client.get(KEYS, headers=admin)).json() == {"keys": []}
        made = await client.post(KEYS, json={"scopes": ["jobs:read"]}, headers=admin)
        assert made.json()["organizationId"] == "alice"


async def test_clocks_may_differ_a_little(client: httpx.AsyncClient) -> None:
    """A token that ended a moment ago by our clock is taken."""
    assert (await client.get(LISTING, headers=bearer(token(claims(exp=int(time.time()) - 3))))).status_code == 200


@pytest.mark.parametrize("exp", [10**12, 1e305, 1e308, 10**400], ids=["far", "1e305", "1e308", "10**400"])
async def test_an_end_beyond_all_calendars_is_the_last_there_is(client: httpx.AsyncClient, exp: float) -> None:
    """It is shown as that, also where it is no number that a computer counts with; tickets live no longer."""
    user = bearer(token(claims(exp=exp)))
    job = (await client.post(SUBMIT, json=body(organizationId="alice"), headers=user)).json()["jobId"]
    ticket = await client.post("/api/ai/event-tickets", json={"jobId": job}, headers=user)
    shown = await client.get("/console/session", headers=user | {"sec-fetch-site": "same-origin"})
    assert (ticket.status_code, shown.status_code) == (201, 200)
    assert shown.json()["caller"]["expiresAt"] == "9999-12-31T23:59:59.000Z"


async def test_the_last_good_set_survives_an_outage(client: httpx.AsyncClient, provider: Provider) -> None:
    """Known keys go on; an unknown one asks, once in 10 s; before there is any set the answer is 503."""
    fresh = token(key=OTHER, kid="new")
    provider.keys, keys = None, provider.keys
    problem(await client.get(LISTING, headers=bearer(token())), 503, "identity-unavailable")
    events = await client.get("/api/ai/job-events?jobId=ai-job-1737465123456-0bc123def", headers=bearer(token()))
    assert (events.status_code, events.text[:6]) == (200, "retry:")
    provider.keys = keys
    async with asyncio.timeout(10):
        while (await client.get(LISTING, headers=bearer(token()))).status_code != 200:
            await asyncio.sleep(0.1)
    provider.keys, asked = None, provider.asked
    for _ in range(5):
        assert (await client.get(LISTING, headers=bearer(token()))).status_code == 200
        problem(await client.get(LISTING, headers=bearer(fresh)), 401, "unauthorized")
    assert provider.asked <= asked + 1


async def test_a_slow_provider_holds_nobody_up(client: httpx.AsyncClient, provider: Provider) -> None:
    """While the key set is fetched other calls are answered."""
    provider.slow.clear()
    waiting = asyncio.create_task(client.get(LISTING, headers=bearer(token())))
    async with asyncio.timeout(10):
        while not provider.asked:
            await asyncio.sleep(0.01)
        assert (await client.get("/health/live")).status_code == 200
    assert not waiting.done()
    provider.slow.set()
    assert (await waiting).status_code == 200


async def test_a_stream_ends_with_its_token(client: httpx.AsyncClient) -> None:
    """At `exp`; and the ticket of its links with it."""
    user = bearer(token(claims(exp=int(time.time()) + 2)))
    submitted = (await client.post(SUBMIT, json=body(organizationId="alice"), headers=user)).json()
    async with client.stream("GET", submitted["links"]["events"], headers=user) as stream, asyncio.timeout(15):
        assert "retry:" in (await stream.aread()).decode()
    problem(await client.get(submitted["links"]["events"]), 401, "unauthorized")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"JWT_ISSUER": ""}, "JWT_ISSUER is not set"),
        ({"JWT_AUDIENCE": ""}, "JWT_AUDIENCE is not set"),
        ({"JWT_JWKS_URL": ""}, "JWT_JWKS_URL or JWT_PUBLIC_KEY"),
        ({"JWT_PUBLIC_KEY": PEM}, "JWT_JWKS_URL or JWT_PUBLIC_KEY"),
        ({"JWT_JWKS_URL": "http://id.example.com/jwks"}, "https://"),
        ({"JWT_JWKS_URL": "", "JWT_PUBLIC_KEY": "nonsense"}, "PEM"),
        ({"JWT_TYPES": ","}, "JWT_TYPES"),
        ({"JWT_LEEWAY_SECONDS": "61"}, "JWT_LEEWAY_SECONDS"),
    ],
)
def test_settings_that_do_not_go_together(changes: dict[str, str], said: str) -> None:
    """One line names the one that is wrong."""
    from shared.identity.jwt_tokens import JwtTokens  # noqa: PLC0415 - as the service does

    good = {"JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE, "JWT_JWKS_URL": "https://id.example.com/jwks"}

    def start() -> None:
        settings = read(good | changes, IdentitySettings)
        check_jwt(settings)
        JwtTokens(settings)

    with pytest.raises(SettingsInvalid, match=said):
        start()
