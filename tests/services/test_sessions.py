"""Sessions of the console: a cookie in place of a key, for the console's own pages alone."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import httpx
import pytest

from shared.identity import signed_texts
from shared.identity.sessions import SECONDS, TOKEN_HEADER
from tests.support.callers import KEYS, OPERATOR, TOKENS, bearer, make_key
from tests.support.gateway import STATUS, SUBMIT, body, problem, running_gateway

SESSION: Final = "/console/session"
OWN: Final = {"Sec-Fetch-Site": "same-origin"}
ELSEWHERE: Final[list[dict[str, str]]] = [
    {}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "none"},
    {"Origin": "http://127.0.0.1:1"}, {"Origin": "null"}, {"Origin": "http://localhost"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
]  # fmt: skip
"""Headers of calls that no page of the console makes."""


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that asks for keys. Its client keeps no cookies: each test says which one it sends."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as running:
        yield running


async def _sign_in(client: httpx.AsyncClient, key: str, **headers: str) -> httpx.Response:
    answer = await client.post(SESSION, json={"key": key}, headers=OWN | headers)
    client.cookies.clear()
    return answer


def _with(answer: httpx.Response, *, token: bool = True) -> dict[str, str]:
    """The headers of a page that signed in."""
    cookie = answer.headers["set-cookie"].partition(";")[0]
    shown = {TOKEN_HEADER: answer.json()["caller"]["token"]} if token else {}
    return OWN | {"Cookie": cookie} | shown


async def test_a_session_is_as_good_as_its_key_and_no_better(client: httpx.AsyncClient) -> None:
    """It has the organisation and the scopes of the key, which the page gets, and ends with a sign-out."""
    made = await make_key(client, "alice", "jobs:read", "jobs:write")
    answer = await _sign_in(client, made["key"])
    assert answer.status_code == 201
    assert answer.json()["caller"] | {"token": "", "expiresAt": ""} == {
        "name": f"key:{made['id']}", "keyId": made["id"], "organizationId": "alice", "models": [], "token": "",
        "scopes": ["jobs:read", "jobs:write"], "expiresAt": "",
    }  # fmt: skip
    assert made["key"] not in answer.text
    session = _with(answer)
    told = (await client.get(SESSION, headers=session)).json()
    assert told == answer.json()

    job = await client.post(SUBMIT, json=body(organizationId="alice"), headers=session)
    assert job.status_code == 202
    assert (await client.get(f"{STATUS}?jobId={job.json()['jobId']}", headers=session)).json()["userId"] == "user-456"
    problem(await client.post(SUBMIT, json=body(organizationId="bob"), headers=session), 403, "forbidden")
    refused = problem(await client.get("/api/ai/usage", headers=session), 403, "insufficient-scope")
    assert refused["detail"] == "usage:read is needed"

    out = await client.delete(SESSION, headers=session)
    assert (out.status_code, "Max-Age=0" in out.headers["set-cookie"]) == (204, True)
    told = (await client.get(SESSION, headers=OWN)).json()
    assert (told["keys"], told["caller"]) == (True, None)


async def test_a_token_of_the_settings_signs_in_too(client: httpx.AsyncClient) -> None:
    """An operator of API_TOKENS is one in the console as well."""
    answer = await _sign_in(client, OPERATOR)
    assert answer.json()["caller"]["organizationId"] is None
    assert (await client.get(KEYS, headers=_with(answer))).status_code == 200


@pytest.mark.parametrize("headers", ELSEWHERE)
async def test_a_session_works_from_the_pages_of_this_origin_alone(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """Reads, changes and streams that another page makes are refused, one of another port of this host too."""
    job = (await client.post(SUBMIT, json=body(organizationId="alice"), headers=bearer(OPERATOR))).json()["jobId"]
    session = _with(await _sign_in(client, OPERATOR))
    for name in OWN:
        del session[name]
    for method, path in (
        ("GET", KEYS), ("GET", f"{STATUS}?jobId={job}"), ("GET", f"/api/ai/job-events?jobId={job}"),
        ("POST", f"/api/ai/jobs/{job}/cancel"), ("GET", SESSION),
    ):  # fmt: skip
        answer = await client.request(method, path, headers=session | headers)
        slug = "foreign-origin" if method == "POST" and headers and headers != ELSEWHERE[3] else "foreign-session"
        problem(answer, 403, slug)
    if headers:
        assert (await client.post(SESSION, json={"key": OPERATOR}, headers=headers)).status_code == 403


async def test_an_equal_origin_is_enough(client: httpx.AsyncClient) -> None:
    """A browser without fetch metadata shows its origin."""
    signed = await client.post(SESSION, json={"key": OPERATOR}, headers={"Origin": str(client.base_url).rstrip("/")})
    session = _with(signed) | {"Origin": str(client.base_url).rstrip("/")}
    del session["Sec-Fetch-Site"]
    assert (await client.get(KEYS, headers=session)).status_code == 200


async def test_a_change_needs_the_token_of_the_session(client: httpx.AsyncClient) -> None:
    """Without it, with a wrong one and with another session's nothing is changed; a read needs none."""
    session, other = await _sign_in(client, OPERATOR), await _sign_in(client, OPERATOR)
    for wrong in ({}, {TOKEN_HEADER: ""}, {TOKEN_HEADER: "x" * 43}, {TOKEN_HEADER: other.json()["caller"]["token"]}):
        answer = await client.post(SUBMIT, json=body(), headers=_with(session, token=False) | wrong)
        assert "X-Presswork-Token".lower() in problem(answer, 403, "foreign-session")["detail"]
    assert (await client.get(KEYS, headers=_with(session, token=False))).status_code == 200


async def test_a_key_in_the_header_comes_before_a_cookie(client: httpx.AsyncClient) -> None:
    """A program's key needs no page; a bad one is refused although the cookie is good."""
    session = _with(await _sign_in(client, OPERATOR), token=False)
    assert (await client.post(SUBMIT, json=body(), headers=session | bearer(OPERATOR))).status_code == 202
    problem(await client.get(KEYS, headers=session | bearer("wrong")), 401, "unauthorized")


async def test_a_revoked_key_ends_its_sessions(client: httpx.AsyncClient) -> None:
    """The cookie names the key and holds no right; the page is asked to sign in again."""
    made = await make_key(client, "alice", "admin")
    session = _with(await _sign_in(client, made["key"]))
    assert (await client.get(KEYS, headers=session)).status_code == 200
    assert (await client.delete(f"{KEYS}/{made['id']}", headers=bearer(OPERATOR))).status_code == 204
    problem(await client.get(KEYS, headers=session), 401, "unauthorized")
    assert (await client.get(SESSION, headers=session)).json()["caller"] is None


async def test_a_bad_cookie_is_no_session(redis_url: str) -> None:
    """Altered, signed by another secret, of another kind, expired, or for a token that is none any more: 401."""
    secret = "s" * 43
    async with running_gateway(redis_url, API_TOKENS=TOKENS, TICKET_SECRET=secret) as client:
        good = _with(await _sign_in(client, OPERATOR))
        name, _, text = good["Cookie"].partition("=")
        content = signed_texts.verify("s1", text, [secret])
        assert content is not None
        known, soon = TOKENS[:12], int(time.time()) + 60
        bad = [
            text[:-1], f"{text}x", text.swapcase(), "", "x" * 5000, "s1.00000000.AAAA.AAAA",
            signed_texts.sign("s1", content, "x" * 43), signed_texts.sign("v1", content, secret),
            signed_texts.sign("s1", f'["token:{known}","",1,"n"]'.encode(), secret),
            signed_texts.sign("s1", f'["token:000000000000","",{soon},"n"]'.encode(), secret),
            signed_texts.sign("s1", f'["key:000000000000","000000000000",{soon},"n"]'.encode(), secret),
        ]  # fmt: skip
        for one in bad:
            answer = await client.get(KEYS, headers=OWN | {"Cookie": f"{name}={one}"})
            assert answer.status_code in (401, 429), one
        assert (await client.get(KEYS, headers=good)).status_code == 200
        assert (
            await client.get(KEYS, headers=OWN | {"Cookie": f"other=1; {good['Cookie']}; more=2"})
        ).status_code == 200


async def test_guesses_at_the_sign_in_are_counted(client: httpx.AsyncClient) -> None:
    """After twenty wrong keys of one address it is asked to wait; a good key is never refused."""
    answers = [(await _sign_in(client, f"wrong-{i}")).status_code for i in range(22)]
    assert (answers[0], answers[-1]) == (401, 429)
    assert (await _sign_in(client, OPERATOR)).status_code == 201
    problem(await client.post(SESSION, json={"key": ""}, headers=OWN), 400, "invalid-request")
    problem(await client.post(SESSION, json={"key": "x", "more": 1}, headers=OWN), 400, "invalid-request")
    problem(await client.post(SESSION, content=b"x" * 5000, headers=OWN), 415, "unsupported-media-type")


PROXIED: Final = {"X-Forwarded-Proto": "https"}


@pytest.mark.parametrize(
    ("settings", "headers", "name"),
    [
        ({}, {}, None),
        ({}, PROXIED, None),
        ({"ROOT_PATH": "/tools"}, {}, None),
        ({"TRUSTED_PROXIES": "127.0.0.1"}, PROXIED, "__Host-presswork"),
        ({"TRUSTED_PROXIES": "127.0.0.1"}, {"X-Forwarded-Proto": "https, http"}, None),
        ({"TRUSTED_PROXIES": "127.0.0.1", "ROOT_PATH": "/tools"}, PROXIED, "__Secure-presswork"),
    ],
)
async def test_the_cookie_is_bound_as_tightly_as_browsers_can(
    redis_url: str, settings: Mapping[str, str], headers: dict[str, str], name: str | None
) -> None:
    """No script reads it, no other site sends it; under TLS its name vouches for its host, elsewhere it holds the
    port, for cookies are shared between ports. Only a trusted proxy is believed."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS, **settings) as client:
        answer = await _sign_in(client, OPERATOR, **headers)
        first, *attributes = answer.headers["set-cookie"].split("; ")
        assert first.partition("=")[0] == (name or f"presswork-{client.base_url.port}")
        below = settings.get("ROOT_PATH", "")
        wanted = {f"Max-Age={SECONDS}", f"Path={below or '/'}", "HttpOnly", "SameSite=Strict"}
        assert set(attributes) == wanted | ({"Secure"} if name else set())
        assert (await client.get(f"{below}{KEYS}", headers=_with(answer) | headers)).status_code == 200


async def test_without_keys_there_is_nothing_to_sign_in_to(redis_url: str) -> None:
    """Every caller of this machine is served, whatever cookie an earlier gateway of this port left."""
    async with running_gateway(redis_url) as client:
        headers = OWN | {"Cookie": f"presswork-{client.base_url.port}=s1.old"}
        told: dict[str, Any] = (await client.get(SESSION, headers=headers)).json()
        assert (told["keys"], told["caller"]["organizationId"], told["caller"]["token"]) == (False, None, "")
        assert (await client.get(KEYS, headers=headers)).status_code == 200


async def test_without_a_console_no_cookie_counts(redis_url: str) -> None:
    """CONSOLE=0: no page, no sign-in, and a cookie that another gateway made is none."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        session = _with(await _sign_in(client, OPERATOR))
    async with running_gateway(redis_url, API_TOKENS=TOKENS, CONSOLE="0") as client:
        name, _, text = session["Cookie"].partition("=")
        session["Cookie"] = f"presswork-{client.base_url.port}={text}"
        problem(await client.get(KEYS, headers=session), 401, "unauthorized")
        for path in ("/console", "/console/", SESSION):
            problem(await client.get(path), 404, "not-found")
        assert name != session["Cookie"]
