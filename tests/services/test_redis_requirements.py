"""The matrix of docs/redis-requirements.md: faults of a Redis user or server are named, nothing is served until they
are gone, and once it is there nothing needs a restart. On Valkey and, where it is installed, on Debian's Redis 7.0."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from shared.errors import StoreUnavailable, StoreUnfit
from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import JobStore, open_store
from shared.store.keys import Keys
from shared.store.preflight import checks
from shared.store.preflight.findings import server_faults
from shared.store.preflight.requirements import PROBES, SCRIPTS, Role, acl, commands, in_script
from tests.conftest import flush
from tests.support.checks import RawRedis
from tests.support.gateway import SUBMIT, body
from tests.support.plain import NO_TLS
from tests.support.processes import ROOT, ServiceProcess, free_port
from tests.support.redis_page import PATH, written
from tests.support.redis_rows import REFUSALS, SERVERS, USERS, ServerRow, UserRow
from tests.support.sse import follow
from tests.support.store import new_job, repeated

REDIS = shutil.which("redis-server")
KEYS = Keys()
BROAD = (
    "~pw:{0}:*", "&pw:{0}:bell:*", "&pw:{0}:orgbell:*", "&pw:{0}:control:*", "+@all", "-@admin", "-@dangerous", "+info",
)  # fmt: skip
"""One user for all services."""


@pytest.fixture(scope="module", params=["valkey", "redis"])
def shared_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server of each kind."""
    if request.param == "redis" and REDIS is None:
        pytest.skip("redis-server is not installed on this machine")
    binary = Path(REDIS) if request.param == "redis" and REDIS else None
    with EmbeddedServer(tmp_path_factory.mktemp("requirements"), aof=False, binary=binary) as running:
        yield running


@pytest.fixture
async def raw(shared_server: EmbeddedServer) -> AsyncIterator[RawRedis]:
    """A connection of the operator to an empty server."""
    await flush(shared_server.url)
    async with RawRedis(shared_server.url) as connection:
        yield connection
        await connection("CONFIG", "SET", "maxmemory-policy", "noeviction")


async def user(raw: RawRedis, role: Role, *rules: str, frugal: bool = False) -> None:
    """Make the smallest user of a role, and change it by `rules`."""
    await raw("ACL", "SETUSER", role.value, "reset", "on", ">p", *acl(role, KEYS, frugal=frugal), *rules)


def url_of(server: EmbeddedServer, role: Role) -> str:
    """As that user."""
    return server.url.replace("unix://", f"unix://{role.value}:p@")


@asynccontextmanager
async def opened(server: EmbeddedServer, role: Role, **settings: object) -> AsyncIterator[JobStore]:
    """The store of a service, as that service's user."""
    chosen = StoreSettings(redis_url=url_of(server, role), **settings)  # type: ignore[arg-type]  # names of fields
    async with open_store(chosen, client_name="t", role=role) as store:
        yield store


async def missing(server: EmbeddedServer, role: Role, **settings: object) -> str:
    """The named fault; empty when the service is ready."""
    async with opened(server, role, **settings) as store:
        try:
            await repeated_unless_unfit(store)
        except StoreUnfit as unfit:
            return str(unfit)
    return ""


async def repeated_unless_unfit(store: JobStore) -> None:
    """Ping, and again where the machine was too slow."""
    for _ in range(5):
        try:
            await store.ping()
            return
        except StoreUnfit:
            raise
        except StoreUnavailable:
            await asyncio.sleep(0.1)


def test_the_page_is_that_of_the_rows() -> None:
    """`make docs` writes it: its tables are the rows tried here, its lists the scripts' commands."""
    text = PATH.read_text(encoding="utf-8")
    assert text == written(text)
    assert " ".join(BROAD) in text


@pytest.mark.parametrize("row", USERS, ids=lambda row: row.lacks)
async def test_missing_rights_of_a_user_are_named(row: UserRow, shared_server: EmbeddedServer, raw: RawRedis) -> None:
    """Every service that needs it names it; one that does not need it is ready."""
    for role in Role:
        await user(raw, role, *row.rules)
        said = await missing(shared_server, role)
        assert (row.said in said) if role in row.roles else not said, (role, said)
    assert await raw("KEYS", "*") in ([], [KEYS.fixed("failover").encode()])


async def test_every_single_command_is_named(shared_server: EmbeddedServer, raw: RawRedis) -> None:
    """Of those that the page lists no one is too many, and none that is missing goes unseen."""
    for role in Role:
        for command in commands(role):
            await raw("SCRIPT", "FLUSH")
            await user(raw, role, f"-{command.lower().replace(' ', '|')}")
            assert command in await missing(shared_server, role), (role, command)
        await raw("ACL", "SETUSER", role.value, "reset", "on", ">p", *BROAD)
        assert await missing(shared_server, role) == ""


@pytest.mark.parametrize("row", SERVERS, ids=lambda row: row.what)
async def test_faults_of_a_server_are_named(row: ServerRow, shared_server: EmbeddedServer, raw: RawRedis) -> None:
    """For all services, with all rights."""
    for role in Role:
        await user(raw, role)
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
                    await repeated_unless_unfit(store)


async def test_a_node_of_a_cluster_wants_another_url(tmp_path: Path) -> None:
    """Reached as if it were one server, it would be until its slots move."""
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with EmbeddedServer(tmp_path, port=free_port(), aof=False, options=options) as server:
        for url in (server.url, f"redis://127.0.0.1:{server.port}"):
            async with open_store(StoreSettings(redis_url=url), client_name="t", role=Role.NOTIFIER) as store:
                with pytest.raises(StoreUnfit, match=r"redis\+cluster://"):
                    await repeated_unless_unfit(store)


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
    assert sent - listed == {"WAITAOF"}  # for DURABILITY=fsync


async def test_a_start_costs_little_where_commands_are_billed(shared_server: EmbeddedServer, raw: RawRedis) -> None:
    """The pay-per-command profile tries the most important rights; a later refusal makes it check everything."""
    for role in Role:
        await user(raw, role, frugal=True)
        await missing(shared_server, role, frugal=True)
        await raw("CONFIG", "RESETSTAT")
        assert await missing(shared_server, role, frugal=True) == ""
        text = (await raw("INFO", "commandstats")).decode()
        lines = [line.split(":calls=") for line in text.splitlines() if ":calls=" in line]
        calls = {name.removeprefix("cmdstat_"): int(rest.split(",")[0]) for name, rest in lines}
        assert sum(calls[name] for name in calls if name not in ("client|setname", "auth", "config|resetstat")) <= 9
        await user(raw, role, "resetchannels", frugal=True)
        assert "channels" in await missing(shared_server, role, frugal=True)


async def test_rights_that_are_taken_away_and_given_back(
    shared_server: EmbeddedServer, raw: RawRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal at run time makes a service check again: it is not ready and gives the reason, until it may again."""
    monkeypatch.setattr(checks, "AGAIN_S", 0.1)
    await user(raw, Role.GATEWAY)
    async with opened(shared_server, Role.GATEWAY) as store:
        await repeated(lambda: store.submit(new_job()))
        await asyncio.sleep(0.15)
        await user(raw, Role.GATEWAY, "-xadd", "-hset")
        with capture_logs() as lines:
            with pytest.raises(StoreUnavailable):
                await store.submit(new_job())
            with pytest.raises(StoreUnfit, match="HSET, XADD"):
                await repeated_unless_unfit(store)
            with pytest.raises(StoreUnfit):
                await store.submit(new_job())
            await user(raw, Role.GATEWAY)
            await repeated(store.ping)
            await repeated(lambda: store.submit(new_job()))
    assert [line["event"] for line in lines if line["event"] != "redis_refused"] == ["redis_unfit", "redis_fit"]


async def test_only_who_writes_marks_a_new_master(
    shared_server: EmbeddedServer, raw: RawRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notifier runs no script, even if its user may. A gateway that could not do it at first does it as soon as
    it may: before anything else is served."""
    monkeypatch.setattr(checks, "AGAIN_S", 0.05)
    await raw("CONFIG", "RESETSTAT")
    await raw("ACL", "SETUSER", Role.NOTIFIER.value, "reset", "on", ">p", *BROAD)
    assert await missing(shared_server, Role.NOTIFIER) == ""
    assert b"cmdstat_eval" not in await raw("INFO", "commandstats")
    await user(raw, Role.GATEWAY, "-eval")
    async with opened(shared_server, Role.GATEWAY) as store:
        with pytest.raises(StoreUnfit, match="may not run EVAL"):
            await repeated_unless_unfit(store)
        assert await raw("KEYS", "*") == []
        await user(raw, Role.GATEWAY)
        await repeated(store.ping)
        await repeated(lambda: store.submit(new_job()))
        assert await raw("EXISTS", KEYS.fixed("failover")) == 1


async def test_later_refusals_are_one_line_each(shared_server: EmbeddedServer, raw: RawRedis) -> None:
    """Out of memory, no replica, a replica now: the line gives the fault and the remedy."""
    await user(raw, Role.GATEWAY)
    said = {}
    async with opened(shared_server, Role.GATEWAY) as store:
        await repeated_unless_unfit(store)
        for name, breaking, mending in _breaking():
            for command in breaking:
                await raw(*command)
            with capture_logs() as lines:
                for _ in range(3):
                    with pytest.raises(Exception, match="Redis"):
                        await store.submit(new_job())
            for command in mending:
                await raw(*command)
            said[name] = [line["reason"] for line in lines if line["event"] == "redis_refused"]
            await repeated(store.ping)
        await repeated(lambda: store.submit(new_job()))
    for name, reasons in said.items():
        assert len(reasons) == 1
        assert reasons[0].startswith(REFUSALS[name])


def _breaking() -> list[tuple[str, list[tuple[str, ...]], list[tuple[str, ...]]]]:
    """By the code of a refusal: how a server is brought to it, and back."""
    config = ("CONFIG", "SET")
    return [
        ("OOM", [(*config, "maxmemory", "1")], [(*config, "maxmemory", "0")]),
        ("NOREPLICAS", [(*config, "min-replicas-to-write", "1")], [(*config, "min-replicas-to-write", "0")]),
        ("READONLY", [("REPLICAOF", "127.0.0.1", "1")], [("REPLICAOF", "NO", "ONE")]),
    ]


async def test_a_disk_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """The server refuses writes because it could not save: the line gives the fault and the place to check."""
    server = EmbeddedServer(tmp_path / "gone", port=free_port(), aof=False)
    server.start()
    url = f"redis://127.0.0.1:{server.port}"
    try:
        opening = open_store(StoreSettings(redis_url=url), client_name="t", role=Role.GATEWAY)
        async with RawRedis(url) as raw, opening as store:
            await repeated(lambda: store.submit(new_job()))
            await raw("CONFIG", "SET", "save", "3600 1")
            shutil.rmtree(tmp_path / "gone")
            await raw("BGSAVE")
            async with asyncio.timeout(20):
                while b"rdb_last_bgsave_status:err" not in await raw("INFO", "persistence"):
                    await asyncio.sleep(0.05)
            with capture_logs() as lines, pytest.raises(StoreUnavailable):
                await store.submit(new_job())
    finally:
        server.kill()
        server.stop()
    assert [line["reason"].startswith(REFUSALS["MISCONF"]) for line in lines] == [True]


async def test_channels_that_are_taken_away_are_missed(
    shared_server: EmbeddedServer, raw: RawRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that only listens and sleeps notices it too, and checks everything again."""
    monkeypatch.setattr(checks, "AGAIN_S", 0.1)
    await user(raw, Role.WORKER)
    async with opened(shared_server, Role.WORKER) as store:
        await repeated_unless_unfit(store)
        await asyncio.sleep(0.15)
        await user(raw, Role.WORKER, "resetchannels", "-bzpopmin")
        async with store.control("w1"), asyncio.timeout(20):
            while store.vetting is not None and store.vetting.fit:
                await asyncio.sleep(0.02)
        with pytest.raises(StoreUnfit, match=r"BZPOPMIN.*channels"):
            await repeated_unless_unfit(store)


@pytest.mark.parametrize("way", ["unix", "tcp"])
async def test_no_room_for_a_client_is_named(way: str, tmp_path: Path) -> None:
    """The server says so and closes before it was asked anything."""
    for binary in [None, *([Path(REDIS)] if REDIS else [])]:
        folder, options = tmp_path / str(binary is None), ("--maxclients", "1")
        with EmbeddedServer(folder, port=free_port(), aof=False, binary=binary, options=options) as server:
            url = server.url if way == "unix" else f"redis://127.0.0.1:{server.port}"
            async with RawRedis(server.url) as only:
                await only("PING")
                with capture_logs() as lines:
                    async with open_store(StoreSettings(redis_url=url), client_name="t") as store:
                        with pytest.raises(StoreUnavailable):
                            await store.ping()
        assert [line["reason"].startswith(REFUSALS["max number of clients reached"]) for line in lines] == [True]


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_three_services_live_with_the_smallest_users(
    shared_server: EmbeddedServer, raw: RawRedis, tmp_path: Path
) -> None:
    """A job goes from submit to its last event with the rights of the page and no more; and a service that started with
    less is not ready, takes and claims nothing, names it in its log, and is ready without a restart once it has it."""
    for role in Role:
        await user(raw, role)
    await user(raw, Role.GATEWAY, "-publish")
    await user(raw, Role.WORKER, "resetchannels")
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
            await user(raw, role)
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
