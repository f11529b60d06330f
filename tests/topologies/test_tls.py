"""TLS and nothing else, with certificates of a private authority, on one server, a cluster and behind sentinels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.errors import SettingsInvalid, StoreUnavailable
from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import JobStore, open_store
from tests.support.fail_over import Servers, claimed_again
from tests.support.job_life import JobLife
from tests.support.processes import free_port
from tests.support.store import claim, complete, repeated, submit
from tests.support.tls import REDIS, Authority, why_not
from tests.support.topologies import running_cluster, running_sentinels
from tests.topologies.conftest import kept_running
from tests.topologies.load import services_on

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.skipif(bool(why_not()), reason=why_not())]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom these servers and their clients trust."""
    return Authority(tmp_path_factory.mktemp("tls") / "authority")


@asynccontextmanager
async def running_one(folder: Path, *, binary: Path, tls: Authority) -> AsyncIterator[Servers]:
    """One server."""
    port = free_port()
    with EmbeddedServer(folder, binary=binary, options=tls.options(port)) as server:
        yield Servers(f"rediss://127.0.0.1:{port}{tls.query}", [server])


KINDS: dict[str, Any] = {"one": running_one, "cluster": running_cluster, "sentinel": running_sentinels}


@pytest.fixture(scope="module", params=KINDS)
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Servers]:
    """Debian's Redis in each form, for all tests of this file."""
    folder = tmp_path_factory.mktemp(request.param) / "servers"
    yield from kept_running(KINDS[request.param](folder, binary=Path(str(REDIS)), tls=authority))


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[JobStore]:
    async with open_store(StoreSettings(redis_url=url, lease_seconds=30.0), client_name="test") as store:
        yield store
    await asyncio.sleep(0.1)  # a TLS connection is closed some turns of the loop later


async def _lives(store: JobStore) -> None:
    """A job from its submit to its end, notified over pub/sub and read from its log."""
    life = JobLife(store)
    async with store.subscriber.listen(store.keys.job_channel(life.id)) as listener:
        await (await life.submit()).start()
        await life.write("a text ")
        assert await listener.wait(10) is not None
        listener.forget()
        await life.complete("and its end")
        assert await listener.wait(10) is not None
    page = await store.events.read(life.id, None)
    assert [str(event.kind) for event in page.events] == life.events


async def test_a_job_lives_over_tls(servers: Servers) -> None:
    """Submit, claim, text, end and its events, all on connections that trust the authority of the URL."""
    async with _opened(servers.url) as store:
        await _lives(store)


async def test_the_authorities_of_the_environment(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE does as well as the option in the URL."""
    url, _, query = servers.url.partition("?")
    monkeypatch.setenv("SSL_CERT_FILE", query.removeprefix("ssl_ca_certs="))
    async with _opened(url) as store:
        await _lives(store)


@pytest.mark.parametrize("servers", ["sentinel"], indirect=True)
async def test_the_services_over_tls(servers: Servers, tmp_path: Path) -> None:
    """Gateway, notifier and worker as processes, behind sentinels: submit, stream and status."""
    async with services_on(servers, tmp_path, workers=1) as running:
        reading = await running.follow(await running.submit(1, parameters={"length": "short"}))
        assert reading.problems() == []
        assert (await running.end(reading.job_id))["status"] == "completed"


async def test_a_server_that_wants_a_certificate(tmp_path: Path, authority: Authority) -> None:
    """A client's certificate and key are options of the URL; without them no call is served, and one line reports
    it."""
    port = free_port()
    options = (*authority.options(port), "--tls-auth-clients", "yes")
    url = f"rediss://127.0.0.1:{port}{authority.query}"
    with EmbeddedServer(tmp_path / "server", binary=Path(str(REDIS)), options=options):
        async with _opened(f"{url}&ssl_certfile={authority.server}&ssl_keyfile={authority.key}") as store:
            await _lives(store)
        with capture_logs() as lines:
            async with _opened(url) as store:
                with pytest.raises(StoreUnavailable):
                    await store.queries.stats()
    assert [line["event"] for line in lines] == ["redis_not_reached"]


async def test_an_unknown_authority_is_reported_once(servers: Servers) -> None:
    """Without the private authority no call is sent; one line says why, without the URL, and calls fail in time."""
    stranger = servers.url.partition("?")[0].replace("://", "://user:the-secret@")
    with capture_logs() as lines:
        async with _opened(stranger) as store:
            for _ in range(2):
                with pytest.raises(StoreUnavailable) as refused:
                    await store.queries.stats()
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("redis_not_reached", "warning")
    assert "certificate" in line["reason"]
    assert "the-secret" not in f"{lines} {refused.value}"


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_an_authority_that_cannot_be_read_stops_the_start(tmp_path: Path, content: str | None) -> None:
    """A file that is missing, or is no certificate, is a wrong setting: one line that names it."""
    file = tmp_path / "authority.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsInvalid, match="REDIS_URL: its certificates"):
        async with _opened(f"rediss+cluster://user:the-secret@127.0.0.1:{free_port()}?ssl_ca_certs={file}"):
            pass


async def test_renewed_certificates_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that runs on takes a new authority from the same file for its next connection; a file that is broken
    meanwhile changes nothing."""
    monkeypatch.setattr("shared.store.connection.connector.TLS_FRESH_S", 0.0)
    before, after = Authority(tmp_path / "before"), Authority(tmp_path / "after")
    file = tmp_path / "authority.pem"
    file.write_bytes(before.certificate.read_bytes())
    port = free_port()
    url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={file}"
    async with _opened(url) as store:
        for content, authority in (("", before), ("broken", before), (after.certificate.read_text(), after)):
            file.write_text(content or file.read_text())
            with EmbeddedServer(tmp_path / "server", binary=Path(str(REDIS)), options=authority.options(port)):
                await repeated(store.queries.stats)


@pytest.mark.parametrize("servers", ["cluster", "sentinel"], indirect=True)
async def test_a_fail_over_with_tls(servers: Servers) -> None:
    """On the oldest Redis that is supported the master is killed: what it had confirmed goes on at the next one."""
    async with _opened(servers.url) as store:
        running, waiting = await submit(store, 2)
        (held,) = await claim(store, 1)
        generation = store.generation
        await servers.in_sync()
        await servers.kill_master()

        renewed = await repeated(lambda: store.renew("w1", [held]))
        assert (renewed.lost, store.generation > generation) == (frozenset(), True)
        await repeated(partial(complete, store, held))
        (next_one,) = await claimed_again(store, "w2")
        assert {held.job_id, next_one.job_id} == {running, waiting}
