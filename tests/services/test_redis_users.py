"""The users of deploy/redis_users.py on a real server: each service does its work, and can do no more."""

from __future__ import annotations

import asyncio
import shutil
import stat
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from redis.exceptions import NoPermissionError, ResponseError

from deploy import redis_users
from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import open_store
from shared.store.keys import Keys
from tests.support import redis_page
from tests.support.checks import RawRedis
from tests.support.gateway import SUBMIT, body
from tests.support.plain import NO_TLS
from tests.support.processes import ServiceProcess, free_port
from tests.support.sse import follow
from tests.support.store import new_job, repeated

KEYS = Keys()
JOB = KEYS.job("ai-job-1737465123456-0bc123def")
WRITES = (
    ("SET", JOB, "x"), ("HSET", JOB, "state", "completed"), ("DEL", JOB), ("PEXPIRE", JOB, 1),
    ("XADD", KEYS.fixed("high"), "*", "j", "x"), ("EVAL", "return 1", 0), ("PUBLISH", KEYS.job_channel("x"), "0-0.1"),
)  # fmt: skip
JOB_BEFORE = new_job(idempotency_key="once")
OPERATORS = (("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("SHUTDOWN",), ("MONITOR",))


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The folder of all files, and the port of the server that they are for."""
    folder, port = tmp_path_factory.mktemp("users") / "secrets", free_port()
    assert redis_users.main([str(folder), f"127.0.0.1:{port}"]) == 0
    return folder, port


@pytest.fixture(scope="module")
def server(secrets: tuple[Path, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server with these users."""
    folder, port = secrets
    options = ("--aclfile", str(folder / "redis-users.acl"))
    with EmbeddedServer(tmp_path_factory.mktemp("server"), port=port, aof=False, options=options) as running:
        yield running


def _url(secrets: tuple[Path, int], service: str) -> str:
    return (secrets[0] / f"redis-url-{service}").read_text().strip()


def test_the_rules_are_those_of_the_scripts() -> None:
    """`make docs` writes them."""
    assert redis_page.RULES.read_text() == redis_page.rules()


def test_passwords_stay_and_rights_are_renewed(tmp_path: Path) -> None:
    """A second run changes no URL; other users of the machine cannot enter the folder; the server has hashes alone."""
    folder = tmp_path / "secrets"
    assert [redis_users.main([str(folder)]) for _ in range(2)] == [0, 0]
    before = {path.name: path.read_text() for path in folder.iterdir()}
    (folder / "redis-users.acl").write_text("user default on nopass +@all\n")
    redis_users.write(folder)
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    assert set(before) == {"redis-users.acl", "redis-url-gateway", "redis-url-worker", "redis-url-notifier"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for service in ("gateway", "worker", "notifier"):
        password = before[f"redis-url-{service}"].partition("@")[0].rpartition(":")[2]
        assert len(password) >= 40
        assert password not in before["redis-users.acl"]
    assert redis_users.main([]) == 2


@pytest.mark.usefixtures("server")
async def test_the_services_work_with_them(secrets: tuple[Path, int], tmp_path: Path) -> None:
    """A job goes from its submit to the end of its stream, each service with a user of its own."""
    async with AsyncExitStack() as exits:
        services = {}
        for name in ("gateway", "notifier", "worker"):
            environment = {"REDIS_URL_FILE": str(secrets[0] / f"redis-url-{name}"), "DEMO_FIRST_TOKEN_MS": "0"}
            service = services[name] = ServiceProcess(name, environment, tmp_path / f"{name}.log")
            service.start()
            exits.push_async_exit(service)
        for service in services.values():
            await service.ready()
        client = await exits.enter_async_context(httpx.AsyncClient(verify=NO_TLS))
        job = (await client.post(f"{services['gateway'].url}{SUBMIT}", json=body())).json()["jobId"]
        events = await follow(f"{services['notifier'].url}/api/ai/job-events?jobId={job}")
        assert [event.kind for event in events][-1] == "completed"
        stats = (await client.get(f"{services['gateway'].url}/api/ai/queue-stats")).json()["stats"]
        assert (stats["queued"], stats["completed"]) == (0, 1)


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_a_restart_keeps_all_that_was_written(tmp_path: Path, kind: str) -> None:
    """The server runs its append-only file as the default user when it starts: writes of scripts stand there as
    transactions, which Redis 7.0 drops as a whole where that user may not run one of their commands."""
    found = shutil.which("redis-server")
    if kind == "redis" and found is None:
        pytest.skip("redis-server is not installed on this machine")
    binary = Path(found) if kind == "redis" and found else None
    port = free_port()
    redis_users.write(tmp_path, f"127.0.0.1:{port}")
    options = ("--aclfile", str(tmp_path / "redis-users.acl"))
    gateway = (tmp_path / "redis-url-gateway").read_text().strip()
    users = tmp_path / "redis-users.acl"
    if kind == "redis":  # 7.0 has no WAITAOF
        users.write_text(users.read_text().replace(" +waitaof", ""))
    for created in (True, False):
        with EmbeddedServer(tmp_path / "server", port=port, options=options, binary=binary):
            async with open_store(StoreSettings(redis_url=gateway), client_name="t") as store:
                assert (await repeated(lambda: store.submit(JOB_BEFORE))).created is created
                assert (await repeated(store.queries.stats)).queued == 1
                assert await store.status(JOB_BEFORE.id) is not None


async def _refused(url: str, *command: str | int) -> None:
    async with RawRedis(url) as raw:
        with pytest.raises((NoPermissionError, ResponseError), match=r"permission|NOPERM|NOAUTH"):
            await raw(*command)


@pytest.mark.usefixtures("server")
async def test_the_notifier_cannot_write(secrets: tuple[Path, int]) -> None:
    """Neither a key nor a channel nor a script; and of keys it reads records and logs alone."""
    for command in (*WRITES, *OPERATORS, ("GET", KEYS.fixed("attribution")), ("XLEN", KEYS.fixed("high"))):
        await _refused(_url(secrets, "notifier"), *command)
    async with RawRedis(_url(secrets, "notifier")) as raw:
        assert await raw("HGETALL", JOB) in ({}, [])


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("service", ["gateway", "worker"])
async def test_a_service_keeps_to_its_own_keys(secrets: tuple[Path, int], service: str) -> None:
    """No command of an operator, and no key or channel of another prefix."""
    for command in (*OPERATORS, ("SET", "another:{0}:x", "x"), ("PUBLISH", "another:{0}:bell:x", "x")):
        await _refused(_url(secrets, service), *command)


async def test_without_a_password_there_is_nothing(server: EmbeddedServer) -> None:
    """The user of the container's health check may PING alone."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)

    async def reply(*command: str | int) -> bytes:
        writer.write(" ".join(f'"{part}"' for part in command).encode() + b"\r\n")
        return await asyncio.wait_for(reader.readline(), 10)

    assert (await reply("PING")).startswith(b"-NOAUTH")
    assert await reply("AUTH", "health", "any") == b"+OK\r\n"
    assert await reply("PING") == b"+PONG\r\n"
    for command in (*WRITES, *OPERATORS, ("INFO",), ("GET", JOB)):
        assert (await reply(*command)).startswith(b"-NOPERM"), command
    writer.close()
