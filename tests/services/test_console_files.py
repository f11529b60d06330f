"""The console's files: vendored as they were published, light, below any path, and allowed nothing from elsewhere."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import pytest

from services.gateway.console.assets import STATIC
from shared.http.lazy_app import ANYWHERE
from tests.support.callers import TOKENS
from tests.support.gateway import problem, running_gateway

VENDOR: Final = STATIC / "vendor"
FIRST_PAGE_MAX: Final = 120_000
"""Bytes of the first page with all that it loads, as they are sent."""

_LOADED: Final = re.compile(r'(?:src|href)="([^"]+)"')


def _packages() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((VENDOR / "vendored.toml").read_text(encoding="utf-8"))["package"]
    return found


def test_vendored_files_are_those_of_their_packages() -> None:
    """Each has the hash that is recorded, none is unrecorded, and every package's licence is beside them."""
    recorded = {name: file["sha256"] for package in _packages() for name, file in package["files"].items()}
    there = {path.name: path for path in VENDOR.iterdir() if path.is_file() and path.suffix != ".toml"}
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in there.items()} == recorded
    for package in _packages():
        assert package["license"] in ("MIT", "Apache-2.0", "OFL-1.1")
        assert len((VENDOR / package["license_file"]).read_text(encoding="utf-8")) > 500
        assert package["integrity"].startswith("sha512-")
        assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"])


def test_modules_import_only_what_is_there() -> None:
    """Every import names a file beside it, or a package of the import map."""
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    known = json.loads(re.findall(r'importmap">(.*?)</script>', text, re.DOTALL)[0])["imports"]
    for path in sorted((STATIC / "app").rglob("*.js")):
        source = path.read_text(encoding="utf-8")
        for name in re.findall(r"(?: from |import\(|^import )'([^']+)'", source, re.MULTILINE):
            assert name in known or (path.parent / name).resolve().is_file(), (path.name, name)
        assert "innerHTML" not in source
        assert "dangerouslySet" not in source


@pytest.mark.parametrize("prefix", ["", "/presswork", "/a/b"])
async def test_the_page_works_below_any_path(redis_url: str, prefix: str) -> None:
    """Its files are found below the prefix, taken off by a proxy or not, and are kept by browsers for good."""
    async with running_gateway(redis_url, ROOT_PATH=prefix) as client:
        moved = await client.get(f"{prefix}/console")
        assert moved.status_code == 308
        assert urljoin(f"{prefix}/console", moved.headers["location"]) == f"{prefix}/console/"
        page = await client.get(f"{prefix}/console/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for name in _LOADED.findall(page.text):
            assert "://" not in name
            answer = await client.get(urljoin(f"{prefix}/console/", name))
            assert answer.status_code == 200, name
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_front_page_says_what_this_is(redis_url: str) -> None:
    """Links to console, reference and document, and three calls to copy; without a console no link to it."""
    for settings, linked in (({}, True), ({"CONSOLE": "0"}, False), ({"ROOT_PATH": "/tools"}, True)):
        below = settings.get("ROOT_PATH", "")
        async with running_gateway(redis_url, **settings) as client:
            page = await client.get(f"{below}/")
            assert page.text.count("<pre") == 3
            assert ("Open the console" in page.text) == linked
            for name in _LOADED.findall(page.text):
                where = urljoin(f"{below}/", name)
                assert where.startswith(f"{below}/")
                assert (await client.get(where, follow_redirects=True)).status_code == 200, where


async def test_the_policy_allows_this_origin_and_the_import_map_by_its_hash(redis_url: str) -> None:
    """No other inline script, no style, no other origin, no frame around it, no text that becomes markup."""
    async with running_gateway(redis_url) as client:
        page = await client.get("/console/")
        policy = page.headers["content-security-policy"]
        (inline,) = re.findall(r"<script(?: type=\"importmap\")?>(.*?)</script>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"script-src 'self' 'sha256-{digest}';" in policy
        for wanted in ("default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'",
                       "form-action 'none'", "style-src 'self';", "require-trusted-types-for 'script'"):  # fmt: skip
            assert wanted in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "style=" not in page.text


def _modules(*first: str) -> set[str]:
    """These files below `app` and all that they import before they run."""
    found: set[Path] = set()
    waiting = [STATIC / "app" / name for name in first]
    while waiting:
        path = waiting.pop().resolve()
        if path not in found:
            found.add(path)
            source = path.read_text(encoding="utf-8")
            waiting += [path.parent / name for name in re.findall(r"(?: from |^import )'(\..+)'", source, re.MULTILINE)]
    return {path.relative_to(STATIC).as_posix() for path in found}


async def test_the_first_page_is_light(redis_url: str) -> None:
    """Document, styles, font, modules and the page that opens first, with its curves: as they are sent."""
    async with running_gateway(redis_url) as client:
        page = await client.get("/console/")
        base = re.findall(r'href="(assets/[0-9a-f]+)/icon.svg"', page.text)[0]
        names = _modules("main.js", "pages/overview.js") | {"app/theme.js", "icon.svg"}
        names |= {path.relative_to(STATIC).as_posix() for path in (STATIC / "css").iterdir() if path.stem != "front"}
        names |= {f"vendor/{path.name}" for path in VENDOR.iterdir() if path.is_file() and path.suffix != ".toml"}
        size = len(gzip.compress(page.content))
        for name in names:
            async with client.stream("GET", f"/console/{base}/{name}", headers={"Accept-Encoding": "gzip"}) as answer:
                assert answer.status_code == 200, name
                size += len(b"".join([piece async for piece in answer.aiter_raw()]))
        assert size <= FIRST_PAGE_MAX


@pytest.mark.parametrize(
    ("settings", "served"),
    [
        ({}, True),
        ({"CONSOLE": "0"}, False),
        ({"GATEWAY_HOST": ANYWHERE, "ALLOW_ANONYMOUS": "1"}, False),
        ({"GATEWAY_HOST": ANYWHERE, "API_TOKENS": TOKENS}, True),
        ({"GATEWAY_HOST": ANYWHERE, "ALLOW_ANONYMOUS": "1", "CONSOLE": "1"}, True),
    ],
)
async def test_the_console_is_there_where_it_is_safe(redis_url: str, settings: dict[str, str], served: bool) -> None:
    """On loopback, or where keys are asked for; CONSOLE decides otherwise."""
    async with running_gateway(redis_url, **settings) as client:
        assert (await client.get("/console/")).status_code == (200 if served else 404)


async def test_without_keys_it_has_the_names_of_loopback_alone(redis_url: str) -> None:
    """A name that was pointed at this machine shows no console; with keys it does."""
    other = {"Host": "app.example"}
    async with running_gateway(redis_url, ALLOWED_HOSTS="app.example") as client:
        problem(await client.get("/console/", headers=other), 404, "not-found")
        for name in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
            assert (await client.get("/console/", headers={"Host": name})).status_code == 200
    async with running_gateway(redis_url, ALLOWED_HOSTS="app.example", API_TOKENS=TOKENS) as client:
        assert (await client.get("/console/", headers=other)).status_code == 200


NO_FILES: Final = (
    "", "index.html", "vendor/vendored.toml", "vendor/licenses/preact.txt", "..%2f..%2fassets.py", "app/%00", "app",
    "app/../../assets.py", "%ff", "x" * 3000, "app/main.js%2f..",
)  # fmt: skip


async def test_nothing_else_is_served(redis_url: str) -> None:
    """Records of origin, documents and files elsewhere have no address; another release's digest gets what there is."""
    async with running_gateway(redis_url) as client:
        for name in NO_FILES:
            assert (await client.get(f"/console/assets/0/{name}")).status_code == 404, name
        answer = await client.get("/console/assets/0/app/main.js")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
