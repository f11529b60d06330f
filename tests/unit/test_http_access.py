"""The checks of every service before anything else, and the headers of every answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from litestar import Request, Response, get, post
from litestar.types import ASGIApp

from shared.errors import SettingsInvalid
from shared.http.access import AccessSettings, Hosts
from shared.http.lazy_app import ANYWHERE
from shared.http.urls import prefix_of
from shared.server import serve
from tests.support.gateway import problem

APP = "https://app.example.com"
URL = "http://127.0.0.1:8000"
EVIL = {"Origin": "https://evil.example"}


def _app(host: str = "127.0.0.1", **settings: str) -> ASGIApp:
    @get("/read")
    async def read(request: Request[Any, Any, Any]) -> str:
        return prefix_of(request.scope)

    @post("/change", status_code=200)
    async def change() -> str:
        return "changed"

    @get("/page")
    async def page() -> Response[str]:
        return Response("page", headers={"Content-Security-Policy": "default-src 'self'"})

    return serve.application([read, change, page], AccessSettings(**settings), host=host)


@asynccontextmanager
async def _client(host: str = "127.0.0.1", *, url: str = URL, **settings: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=_app(host, **settings))  # type: ignore[arg-type]  # Litestar's own ASGI types
    async with httpx.AsyncClient(transport=transport, base_url=url) as client:
        yield client


@pytest.mark.parametrize(
    ("bound", "allowed", "served", "refused"),
    [
        (
            "127.0.0.1", "",
            ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:9", "[::1]:8000", "localhost.", "127.8.8.8"],
            ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.1", "",
             "localhost@evil.example", ANYWHERE, "[::2]:8000", "localhost:x", "xlocalhost", "localhost, evil.example"],
        ),
        ("::1", "", ["localhost:8000", "[::1]"], ["evil.example"]),
        ("localhost", "", ["localhost:8000"], ["evil.example"]),
        (
            "127.0.0.1", "App.example.com, *.example.org",
            ["app.example.com:443", "localhost", "a.example.org", "a.b.example.org."],
            ["example.org", "badexample.org", "app.example.com.evil.example", "x.app.example.com"],
        ),
        (ANYWHERE, "", ["evil.example", "192.0.2.1:8000", "localhost"], []),
        (ANYWHERE, "app.example.com", ["app.example.com", "127.0.0.1:8000", "10.1.2.3:8000"],
         ["evil.example", "10.1.2.4:8000"]),
        ("127.0.0.1", "*", ["evil.example"], []),
    ],
)  # fmt: skip
async def test_only_names_of_the_service_are_served(
    bound: str, allowed: str, served: list[str], refused: list[str]
) -> None:
    """On loopback its names alone, else those that are set, and the address that a probe connected to."""
    async with _client(bound, url="http://10.1.2.3:8000", allowed_hosts=allowed) as client:
        for host in served:
            assert (await client.get("/read", headers={"Host": host})).status_code == 200, host
        for host in refused:
            for method, path in (("GET", "/read"), ("POST", "/change"), ("OPTIONS", "/read"), ("GET", "/nothing")):
                answer = await client.request(method, path, headers={"Host": host})
                problem(answer, 421, "misdirected-request")


FOREIGN: list[Mapping[str, str]] = [
    EVIL,
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "https://127.0.0.1:8000.evil.example"},
    {"Origin": "http://127.0.0.1:9000"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "file://"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "anything"},
    {"Origin": URL, "Sec-Fetch-Site": "cross-site"},
    {**EVIL, "X-Forwarded-Host": "app.example.com"},
]
OWN: list[Mapping[str, str]] = [
    {},
    {"Origin": URL},
    {"Origin": "HTTP://127.0.0.1:8000"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-origin"},
    {"Origin": APP, "X-Forwarded-Host": "app.example.com"},
    {"Origin": APP, "X-Forwarded-Host": "app.example.com:443, inner"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_pages_of_other_origins_change_nothing(headers: Mapping[str, str]) -> None:
    """A simple request of a foreign page is refused, unless its origin is allowed."""
    async with _client() as client:
        problem(await client.post("/change", headers=headers), 403, "foreign-origin")
        assert (await client.get("/read", headers=headers)).status_code == 200
    async with _client(cors_allowed_origins="*") as client:
        expected = 200 if headers.get("Origin") is not None else 403
        assert (await client.post("/change", headers=headers)).status_code == expected


@pytest.mark.parametrize("headers", OWN, ids=str)
async def test_own_pages_and_what_is_no_browser_may(headers: Mapping[str, str]) -> None:
    """Same origin by the browser's header, or by host, also behind a proxy that changes it."""
    async with _client() as client:
        assert (await client.post("/change", headers=headers)).status_code == 200


async def test_allowed_origins_may_call_and_read() -> None:
    """Cross-site by their browser's header, they are let in by name; caches keep permissions apart."""
    async with _client(cors_allowed_origins=APP) as client:
        answer = await client.post("/change", headers={"Origin": APP, "Sec-Fetch-Site": "cross-site"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, APP)
        assert "location" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"
        missing = await client.get("/nothing", headers={"Origin": APP})
        assert (missing.status_code, missing.headers["access-control-allow-origin"]) == (404, APP)
        assert "access-control-allow-origin" not in (await client.get("/read", headers=EVIL)).headers
        assert (await client.get("/read")).headers["vary"] == "Origin"
    async with _client(cors_allowed_origins="*") as client:
        assert (await client.get("/read", headers=EVIL)).headers["access-control-allow-origin"] == "*"


async def _preflight(client: httpx.AsyncClient, wanted: str, origin: str = APP, **more: str) -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted}
    return await client.options("/change", headers=headers | {name.replace("_", "-"): v for name, v in more.items()})


async def test_real_front_ends_may_send_their_headers() -> None:
    """Tracing, wrappers of fetch and EventSource polyfills add headers unasked; more are set."""
    usual = "authorization,baggage,cache-control,content-type,idempotency-key,last-event-id,sentry-trace,traceparent"
    async with _client(cors_allowed_origins=APP, cors_allowed_headers="X-Tenant") as client:
        answer = await _preflight(client, f"{usual},tracestate,x-requested-with,x-tenant")
        granted = set(answer.headers["access-control-allow-headers"].split(", "))
        assert answer.status_code == 204
        assert granted >= {*usual.split(","), "tracestate", "x-requested-with", "x-tenant"}
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert int(answer.headers["access-control-max-age"]) >= 600
        problem(await _preflight(client, "content-type", "https://evil.example"), 403, "foreign-origin")
    async with _client(cors_allowed_origins=APP, cors_allowed_headers="*") as client:
        answer = await _preflight(client, "authorization, x-anything")
        assert answer.headers["access-control-allow-headers"] == "authorization, x-anything"


async def test_a_private_network_is_open_to_named_origins_alone() -> None:
    """`*` lets pages of the internet read an API of the internet, not one on this machine."""
    for origins, granted in ((APP, "true"), ("*", None)):
        async with _client(cors_allowed_origins=origins) as client:
            answer = await _preflight(client, "", Access_Control_Request_Private_Network="true")
            assert answer.status_code == 204
            assert answer.headers.get("access-control-allow-private-network") == granted


@pytest.mark.parametrize("path", ["/read", "/page", "/nothing", "/change"])
async def test_every_answer_has_protective_headers(path: str) -> None:
    """No script, image or frame of another site, and nothing runs in it; a page's own policy stays alone."""
    async with _client() as client:
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        policy = headers.get_list("content-security-policy")
        assert policy == (["default-src 'self'"] if path == "/page" else ["default-src 'none'; frame-ancestors 'none'"])


@pytest.mark.parametrize(
    ("setting", "header", "path", "prefix"),
    [
        ("/presswork", "", "/read", "/presswork"),
        ("/presswork", "", "/presswork/read", "/presswork"),
        ("/presswork/", "", "/presswork/read", "/presswork"),
        ("/presswork", "/other", "/read", "/presswork"),
        ("", "/a/b-c", "/read", "/a/b-c"),
        ("", "/a/b-c/", "/a/b-c/read", "/a/b-c"),
        ("", "/read", "/read/read", "/read"),
        ("", "", "/read", ""),
        *(
            ("", hostile, "/read", "")
            for hostile in (
                "//evil.example", "/\\evil.example", "https://evil.example", 'x"y', '/a"b', "/a b", "/a//b", "/../x",
                "/a/./b", "/<script>", "/a?b", "/a#b", "/%0d%0a", "/é", "/" + "a" * 300, "evil", "/a, /b",
            )
        ),
    ],
)  # fmt: skip
async def test_a_path_in_front_is_taken_off_and_known(setting: str, header: str, path: str, prefix: str) -> None:
    """Set, or sent by a proxy, which takes it off or leaves it; a text that is not valid in a link is no prefix."""
    async with _client(root_path=setting) as client:
        headers = [(b"X-Forwarded-Prefix", header.encode("latin-1"))] if header else []
        answer = await client.get(path, headers=headers)
        assert (answer.status_code, answer.text) == (200, prefix)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("root_path", "presswork"), ("root_path", "//evil.example"), ("root_path", "/a b"), ("root_path", "/../a"),
        ("allowed_hosts", "https://app.example.com"), ("allowed_hosts", "app.example.com:80"), ("allowed_hosts", "a b"),
        ("cors_allowed_headers", "x tenant"), ("cors_allowed_origins", "app.example.com"),
    ],
)  # fmt: skip
def test_a_setting_that_nothing_can_match_is_refused(name: str, value: str) -> None:
    """One line that names it, at the start."""
    with pytest.raises(SettingsInvalid, match=f"^{name.upper()}: expected"):
        _app(**{name: value})


def test_names_that_callers_think_up_take_no_memory() -> None:
    """Every name below `*.example.com` is served, and few of them are remembered."""
    hosts = Hosts("*.example.com", bound=ANYWHERE)
    assert all(hosts.serves([f"a{number}.example.com".encode()], {}) for number in range(1000))
    assert len(hosts._known) <= 64
