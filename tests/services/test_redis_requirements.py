"""The matrix of docs/redis-requirements.md: faults of a Redis user or server are named, nothing is served until they
are gone, and once it is there nothing needs a restart. On Valkey and, where it is installed, on Debian's Redis 7.0."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from shared.errors import StoreUnfit
from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import open_store
from shared.store.preflight.findings import server_faults
from shared.store.preflight.requirements import PROBES, SCRIPTS, Role, commands, in_script
from tests.support.checks import RawRedis
from tests.support.gateway import SUBMIT, body
from tests.support.plain import NO_TLS
from tests.support.processes import ROOT, ServiceProcess, free_port
from tests.support.redis_page import PATH, written
from tests.support.redis_rows import SERVERS, USERS, ServerRow, UserRow
from tests.support.redis_users import BROAD, KEYS, give_rights, missing, ping_or_unfit, url_of
from tests.support.sse import follow


def test_the_page_is_that_of_the_rows() -> None:
    """`make docs` writes it: its tables are the rows tried here, its lists the scripts' commands."""
    text = PATH.read_text(encoding="utf-8")
    assert text == written(text)
    assert " ".join(BROAD) in text


@pytest.mark.parametrize("row", USERS, ids=lambda row: row.lacks)
async def test_missing_rights_of_a_user_are_named(row: UserRow, shared_server: EmbeddedServer, raw: RawRedis) -> None:
    """Every service that needs it names it; one that does not need it is ready."""
    for role in Role:
        await give_rights(raw, role, *row.rules)
        said = await missing(shared_server, role)
        assert (row.said in said) if role in row.roles else not said, (role, said)
    assert await raw("KEYS", "*") in ([], [KEYS.fixed("failover").encode()])


async def test_every_single_command_is_named(shared_server: EmbeddedServer, raw: RawRedis) -> None:
    """Of those that the page lists no one is too many, and none that is missing goes unseen."""
    for role in Role:
        for command in commands(role):
            await raw("SCRIPT", "FLUSH")
            await give_rights(raw, role, f"-{command.lower().replace(' ', '|')}")
            assert command in await missing(shared_server, role), (role, command)
        await raw("ACL", "SETUSER", role.value, "reset", "on", ">p", *BROAD)
        assert await missing(shared_server, role) == ""


@pytest.mark.parametrize("row", SERVERS, ids=lambda row: row.what)
async def test_faults_of_a_server_are_named(row: ServerRow, shared_server: EmbeddedServer, raw: RawRedis) -> None:
    """For all services, with all rights."""
    for role in Role:
        await give_rights(raw, role)
    replica = row.name == "replicaof"
    await (raw("REPLICAOF", *row.value.split()) if replica else raw("CONFIG", "SET", row.name, row.value))
    try:
        for role in Role:
            assert row.said in await missing(shared_server, role)
    finally:
        if replica:
            await raw("REPLICAOF", "NO", "ONE")


async def test_a_command_that_was_renamed_away_is_named(tmp_path: Path) -> None:
    """Some hosts take commands away from everybody."""
    for gone, said in (("XDEL", "the server does not have XDEL"), ("EVALSHA", "the server does not have EVALSHA")):
        with EmbeddedServer(tmp_path / gone, aof=False, options=("--rename-command", gone, "")) as server:
            async with open_store(StoreSettings(redis_url=server.url), client_name="t", role=Role.WORKER) as store:
                with pytest.raises(StoreUnfit, match=said):
                    await ping_or_unfit(store)


async def test_a_node_of_a_cluster_wants_another_url(tmp_path: Path) -> None:
    """Reached as if it were one server, it would be until its slots move."""
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with EmbeddedServer(tmp_path, port=free_port(), aof=False, options=options) as server:
        for url in (server.url, f"redis://127.0.0.1:{server.port}"):
            async with open_store(StoreSettings(redis_url=url), client_name="t", role=Role.NOTIFIER) as store:
                with pytest.raises(StoreUnfit, match=r"redis\+cluster://"):
                    await ping_or_unfit(store)


def test_a_server_s_own_word_is_read_with_care() -> None:
    """Too old a release is named; a host that says little of itself, or counts otherwise, is tried."""
    old = "redis_version:6.2.14\r\nrole:master\r\n"
    assert server_faults(old, moves=False) == ["the server is too old (Redis 6.2): 7.0 or newer is needed, or Valkey"]
    hosted = "redis_version:6.2.6\r\nupstash_version:1.9\r\n"
    for info in ("", "redis_version:7.0.15\r\n", hosted, "redis_version:x\r\n"):
        assert server_faults(info, moves=False) == []
    assert server_faults("cluster_enabled:1\r\n", moves=True) == []


def test_every_command_of_the_scripts_can_be_tried() -> None:
    """A script that learns a new command brings its harmless form along, or the smallest user would lack it."""
    folder = ROOT / "shared" / "store" / "lua"
    called = {
        name
        for path in folder.rglob("*.lua")
        for name in re.findall(r"redis\.p?call\('([A-Z]+)'", path.read_text(encoding="utf-8"))
    }
    assert called - {command.split()[0] for command in PROBES} == set()
    known = {path.stem for path in folder.glob("*.lua")}
    assert known - {name for names in SCRIPTS.values() for name in names} == set()
    assert all(in_script(name) for name in known - {"vet"})


def test_every_command_outside_of_scripts_is_listed() -> None:
    """A new read must be allowed to the smallest users."""
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "shared" / "store").rglob("*.py"))
    sent = {name for text in sources for name in re.findall(r"execute\(\s*\"([A-Z]+)\"", text)}
    listed = {command.split()[0] for role in Role for command in commands(role)}
    # For DURABILITY=fsync, and where a user may do more: none of them is needed.
    assert sent - listed == {"WAITAOF", "BGREWRITEAOF"}


async def test_a_start_costs_little_where_commands_are_billed(shared_server: EmbeddedServer, raw: RawRedis) -> None:
    """The pay-per-command profile tries the most important rights; a later refusal makes it check everything."""
    for role in Role:
        await give_rights(raw, role, frugal=True)
        await missing(shared_server, role, frugal=True)
        await raw("CONFIG", "RESETSTAT")
        assert await missing(shared_server, role, frugal=True) == ""
        text = (await raw("INFO", "commandstats")).decode()
        lines = [line.split(":calls=") for line in text.splitlines() if ":calls=" in line]
        calls = {name.removeprefix("cmdstat_"): int(rest.split(",")[0]) for name, rest in lines}
        assert sum(calls[name] for name in calls if name not in ("client|setname", "auth", "config|resetstat")) <= 9
        await give_rights(raw, role, "resetchannels", frugal=True)
        assert "channels" in await missing(shared_server, role, frugal=True)


@pytest.mark.slow
@pytest.mark.parametrize("shared_server", ["valkey"], indirect=True)
@pytest.mark.timeout(300)
async def test_three_services_live_with_the_smallest_users(
    shared_server: EmbeddedServer, raw: RawRedis, tmp_path: Path
) -> None:
    """A job goes from submit to its last event with the rights of the page and no more; and a service that started with
    less is not ready, takes and claims nothing, names it in its log, and is ready without a restart once it has it."""
    for role in Role:
        await give_rights(raw, role)
    await give_rights(raw, Role.GATEWAY, "-publish")
    await give_rights(raw, Role.WORKER, "resetchannels")
    settings = {"DEMO_FIRST_TOKEN_MS": "0", "DEMO_TOKENS_PER_SECOND": "0", "LEASE_SECONDS": "3"}
    services = {
        role: ServiceProcess(role.value, {"REDIS_URL": url_of(shared_server, role), **settings}, tmp_path / role.value)
        for role in Role
    }
    gateway, notifier = services[Role.GATEWAY], services[Role.NOTIFIER]
    async with AsyncExitStack() as exits, httpx.AsyncClient(verify=NO_TLS, timeout=20) as client:
        for service in services.values():
            service.start()
            exits.push_async_exit(service)
        await notifier.ready()
        await _unfit(client, services[Role.WORKER], "may not use the channels pw:{0}:bell:*")
        await _unfit(client, gateway, "may not run PUBLISH")
        assert (await client.post(f"{gateway.url}{SUBMIT}", json=body())).status_code == 503
        for role in Role:
            await give_rights(raw, role)
        for service in services.values():
            await service.ready()
        answer = (await client.post(f"{gateway.url}{SUBMIT}", json=body())).json()
        events = await follow(f"{notifier.url}/api/ai/job-events?jobId={answer['jobId']}")
        assert events[-1].kind == "completed"
        assert [await service.stop() for service in services.values()] == [0, 0, 0]


async def _unfit(client: httpx.AsyncClient, service: ServiceProcess, said: str) -> None:
    async with asyncio.timeout(40):
        while said not in service.log.read_text():
            await asyncio.sleep(0.05)
        answer = await client.get(f"{service.url}/health/ready")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:presswork:problem:store-unfit")
