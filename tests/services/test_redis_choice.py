"""The choice of Redis: probed once at the start, one clear line when there is no way, no secret in it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping

import pytest

from shared.errors import SettingsInvalid
from shared.settings import RestEndpoint, StoreSettings, read_store
from shared.store.connection.select_transport import COPY_THE_URL, Probe, probe_tcp, select
from tests.support.checks import RawRedis
from tests.support.processes import ROOT, free_port
from tests.support.upstash import TOKEN, Upstash

PASSWORD = "correct-horse"


@pytest.fixture
async def locked_url(redis_url: str) -> AsyncIterator[str]:
    """A server on a TCP port that wants a password, as `host:port`."""
    async with RawRedis(redis_url) as raw:
        port = free_port()
        await raw("CONFIG", "SET", "port", port, "bind", "127.0.0.1")
        await raw("CONFIG", "SET", "requirepass", PASSWORD)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await raw("CONFIG", "SET", "requirepass", "", "port", 0)


def pair(upstash: Upstash, **more: str) -> StoreSettings:
    """Settings from the REST pair alone."""
    mapping = {"UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": TOKEN, **more}
    return read_store(mapping)


async def test_a_probe_names_the_fault(locked_url: str) -> None:
    """It works, the password is refused or missing, there is no such database, or nothing answers."""
    assert await probe_tcp(f"redis://:{PASSWORD}@{locked_url}") is Probe.WORKS
    assert await probe_tcp(f"redis://default:wrong@{locked_url}") is Probe.REFUSED
    assert await probe_tcp(f"redis://{locked_url}") is Probe.LOCKED
    assert await probe_tcp(f"redis://:{PASSWORD}@{locked_url}/99") is Probe.NO_DATABASE
    assert await probe_tcp(f"redis://127.0.0.1:{free_port()}") is Probe.AWAY


async def test_only_the_pair_and_no_tcp_means_rest_for_the_gateway(upstash: Upstash) -> None:
    """The gateway goes on over REST; worker and notifier stop and say what to do."""
    assert (await select(pair(upstash), may_use_rest=True)).redis_transport == "rest"
    with pytest.raises(SettingsInvalid) as raised:
        await select(pair(upstash), may_use_rest=False)
    assert COPY_THE_URL in str(raised.value)
    with pytest.raises(SettingsInvalid, match="over TCP"):
        await select(pair(upstash, REDIS_TRANSPORT="tcp"), may_use_rest=True)


async def test_a_derived_password_that_is_refused_means_rest(upstash: Upstash, locked_url: str) -> None:
    """If the REST token is not the password, the gateway goes on over REST and a worker stops."""
    settings = StoreSettings(
        redis_url=f"redis://default:{TOKEN}@{locked_url}",
        redis_url_derived=True,
        rest=RestEndpoint(upstash.url, "other"),
    )
    with pytest.raises(SettingsInvalid, match="check the REST pair"):
        await select(settings, may_use_rest=True)
    with pytest.raises(SettingsInvalid, match="refused the password") as raised:
        await select(settings, may_use_rest=False)
    assert COPY_THE_URL in str(raised.value)


async def test_what_was_set_by_hand_is_taken(upstash: Upstash, redis_url: str, locked_url: str) -> None:
    """A URL that was set wins over the pair, also while it is away; REST is taken when the setting says so."""
    away = f"redis://127.0.0.1:{free_port()}"
    for url in (redis_url, away, f"redis://:{PASSWORD}@{locked_url}"):
        assert (await select(pair(upstash, REDIS_URL=url), may_use_rest=True)).redis_transport == "tcp"
    chosen = pair(upstash, REDIS_URL=redis_url, REDIS_TRANSPORT="rest")
    assert (await select(chosen, may_use_rest=True)).redis_transport == "rest"
    with pytest.raises(SettingsInvalid, match="blocking reads"):
        await select(chosen, may_use_rest=False)
    with pytest.raises(SettingsInvalid, match="REST_URL"):
        await select(read_store({"REDIS_URL": away, "REDIS_TRANSPORT": "rest"}), may_use_rest=True)
    with pytest.raises(SettingsInvalid, match="refused the password"):
        await select(pair(upstash, REDIS_URL=f"redis://:wrong@{locked_url}"), may_use_rest=True)


async def _stops(service: str, environment: Mapping[str, str]) -> str:
    """The line of a service that must not start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"services.{service}",
        cwd=ROOT, env=dict(environment), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(30):
        output, _ = await process.communicate()
    assert process.returncode in (1, 2)
    return output.decode()


@pytest.mark.parametrize("service", ["worker", "notifier", "gateway"])
async def test_a_wrong_password_is_one_line(service: str, upstash: Upstash, locked_url: str) -> None:
    """Each service stops with one line that names the setting and holds neither URL nor password nor token."""
    said = await _stops(service, {"REDIS_URL": f"redis://default:hunter2@{locked_url}"})
    assert said.count("\n") == 1
    assert "REDIS_URL: the server refused the password" in said
    rest = {"UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": "wrong-token"}
    said += await _stops(service, rest)
    for secret in ("hunter2", "wrong-token", locked_url, upstash.url):
        assert secret not in said


async def test_the_http_client_is_imported_for_rest_alone() -> None:
    """A gateway on TCP, or a notifier that has no such package, never loads it."""
    code = "import sys, services.gateway.app, services.notifier.app; sys.exit('httpx2' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT)
    assert await process.wait() == 0
