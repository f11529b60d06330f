"""The REST endpoint of the tests follows the documentation of Upstash: its official clients accept it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from upstash_redis.asyncio import Redis
from upstash_redis.errors import UpstashError

from tests.support.plain import NO_TLS
from tests.support.upstash import TOKEN, Upstash

CLIENT = Path(__file__).parents[1] / "support" / "upstash_client.mjs"
NPM_PACKAGE = "@upstash/redis@1.39.0"
INSTALL_SECONDS = 45


@pytest.fixture
async def http(upstash: Upstash) -> AsyncIterator[httpx.AsyncClient]:
    """A plain client with the token."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(verify=NO_TLS, base_url=upstash.url, headers=headers) as client:
        yield client


async def test_the_official_python_client(upstash: Upstash) -> None:
    """upstash-redis: single commands, pipelines, transactions, streams, scripts and errors."""
    async with Redis(upstash.url, TOKEN, rest_retries=0, allow_telemetry=False) as redis:
        assert await redis.set("k", "Grüße 😀", ex=60)
        assert await redis.get("k") == "Grüße 😀"
        pipeline = redis.pipeline()
        pipeline.incr("n")
        pipeline.get("none")
        assert await pipeline.exec() == [1, None]
        transaction = redis.multi()
        transaction.incr("n")
        transaction.incr("n")
        assert await transaction.exec() == [2, 3]
        entry = await redis.xadd("s", "*", {"job": "1"})
        await redis.xgroup_create("s", "g", "0")
        assert await redis.xreadgroup("g", "c", {"s": ">"}) == [["s", [[entry, ["job", "1"]]]]]
        sha = await redis.script_load("return {KEYS[1], ARGV[1], 7}")
        assert await redis.evalsha(sha, keys=["k"], args=["a"]) == ["k", "a", 7]
        for refused in (redis.evalsha("0" * 40), redis.execute(["BLPOP", "l", "0"]), redis.execute(["SUBSCRIBE", "c"])):
            with pytest.raises(UpstashError, match=r"NOSCRIPT|not available"):
                await refused
    assert {path for _, path, _ in upstash.requests} == {"/", "/pipeline", "/multi-exec"}
    assert len(upstash.sync_tokens) == len(upstash.requests) - 1


async def test_path_form_query_arguments_and_codes(upstash: Upstash, http: httpx.AsyncClient) -> None:
    """Commands in the path, a body as last argument, arguments in the query; 400, 401 and 405."""
    assert (await http.get("/set/k/a%2Fb?EX=100")).json() == {"result": "OK"}
    assert (await http.get("/ttl/k")).json()["result"] == 100
    assert (await http.post("/set/body?EX=100", content=b'{"a":1}')).json() == {"result": "OK"}
    assert (await http.get("/get/body", headers={"Upstash-Encoding": "base64"})).json() == {"result": "eyJhIjoxfQ=="}
    async with httpx.AsyncClient(verify=NO_TLS, base_url=upstash.url) as anonymous:
        assert (await anonymous.get(f"/get/k?_token={TOKEN}")).json() == {"result": "a/b"}
        assert (await anonymous.get("/get/k")).status_code == 401
    for answer, status in [
        (await http.post("/", content=b"{"), 400),
        (await http.post("/pipeline", content=b'["GET","k"]'), 400),
        (await http.post("/", json=["INCR", "body"]), 400),
        (await http.delete("/get/k"), 405),
        (await http.get("/pipeline"), 405),
    ]:
        assert answer.status_code == status
        assert answer.json()["error"]
    mixed = (await http.post("/pipeline", json=[["INCR", "body"], ["ECHO", "x"]])).json()
    assert [set(one) for one in mixed] == [{"error"}, {"result"}]


async def test_quotas_and_request_size(upstash: Upstash, http: httpx.AsyncClient) -> None:
    """A used-up quota refuses every command with the text of its kind, a large body is refused as a whole."""
    for quota, text in [("day", "max daily request limit exceeded"), ("month", "max requests limit exceeded")]:
        upstash.quota = quota
        assert text in (await http.post("/", json=["GET", "k"])).json()["error"]
    upstash.quota, upstash.request_bytes_max = "", 100
    assert "max request size" in (await http.post("/", json=["SET", "k", "x" * 100])).json()["error"]


@pytest.fixture(scope="session")
def npm_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official npm client beside a script that uses it; skips where it cannot be installed."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed on this machine")
    folder = tmp_path_factory.mktemp("npm")
    script = folder / CLIENT.name
    shutil.copy(CLIENT, script)
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), NPM_PACKAGE]
    try:
        done = subprocess.run(install, cwd=folder, capture_output=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install {NPM_PACKAGE} within {INSTALL_SECONDS} s")
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {NPM_PACKAGE} here")
    return script


async def test_the_official_npm_client(npm_client: Path, upstash: Upstash) -> None:
    """@upstash/redis: automatic pipelines, transactions, scripts, streams and errors."""
    process = await asyncio.create_subprocess_exec(
        "node", str(npm_client), upstash.url, TOKEN, stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    answers: dict[str, Any] = json.loads(output)
    assert answers["set"] == "OK"
    assert answers["get"] == {"text": "Grüße 😀"}
    assert answers["none"] is None
    assert answers["multi"] == [1, 2]
    assert answers["eval"] == ["k", "a", 7]
    assert answers["range"] == [{"job": 1}]
    assert answers["noscript"] is True
    assert "WRONGPASS" in answers["refused"]
