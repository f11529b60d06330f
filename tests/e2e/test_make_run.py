"""`make run`: the supervisor names a fault in one line, and leaves nothing behind, however it is ended."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support.plain import NO_TLS
from tests.support.processes import ROOT, free_port

PORTS = ("GATEWAY_PORT", "NOTIFIER_PORT", "WORKER_METRICS_PORT")


def _environment(folder: Path, **settings: str) -> dict[str, str]:
    ports = {name: str(free_port()) for name in PORTS}
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "DATA_DIR": str(folder / "data"), **ports, **settings}


def _like_a_terminal(terminal: int | None = None) -> None:
    """The starter of the tests may ignore a signal (nohup, a background job), and a child would inherit that."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()  # without the terminal that started the tests, if there is one
    if terminal is not None:
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


COMMAND = (sys.executable, "-m", "deploy.local")


def _with_patience(seconds: int) -> Sequence[str]:
    """The same with another patience than its own."""
    code = f"import sys; from deploy import local; local.READY_SECONDS = {seconds}; sys.exit(local.main())"
    return sys.executable, "-c", code


@contextmanager
def _started(
    environment: dict[str, str], folder: Path, terminal: int | None = None, command: Sequence[str] = COMMAND
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=out,
            preexec_fn=partial(_like_a_terminal, terminal),  # noqa: PLW1509
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _ended(environment: dict[str, str], folder: Path, command: Sequence[str] = COMMAND) -> tuple[int, list[str]]:
    """Status and lines of a supervisor that cannot start."""
    with _started(environment, folder, command=command) as process:
        status = process.wait(60)
    return status, (folder / "out").read_text().splitlines()


@pytest.mark.parametrize(
    ("setting", "value", "line"),
    [
        ("GATEWAY_PORT", "99999", "presswork: GATEWAY_PORT: expected `int` <= 65535"),
        ("NOTIFIER_PORT", "soon", "presswork: NOTIFIER_PORT: expected a whole number"),
        ("GATEWAY_PORT", "tcp://10.0.0.1:8000", "presswork: GATEWAY_PORT: expected a whole number; it holds the"),
        ("DATA_DIR", "/tmp", "presswork: DATA_DIR: others can write to /tmp"),  # noqa: S108 - it is refused
        ("KEY_PREFIX", "a b", "presswork: KEY_PREFIX: must be 1 to 64 letters"),
        ("OPENAI_API_KEY", "'sk-1'", "presswork: remove the quotes around OPENAI_API_KEY"),
        ("GATEWAY_PORT", "'8000'", "presswork: remove the quotes around GATEWAY_PORT"),
        ("DATA_DIR", "/dev/null", "presswork: DATA_DIR: /dev/null cannot be used: File exists"),
        ("DATA_DIR", "/dev/null/data", "presswork: DATA_DIR: /dev/null/data cannot be used: Not a directory"),
    ],
)
def test_a_wrong_place_is_one_line(setting: str, value: str, line: str, tmp_path: Path) -> None:
    """Status 2 and one line that names the setting, before anything was started."""
    status, lines = _ended(_environment(tmp_path, **{setting: value}), tmp_path)
    assert status == 2
    assert len(lines) == 1
    assert lines[0].startswith(line)


def test_a_setting_that_a_service_alone_reads_is_wrong_too(tmp_path: Path) -> None:
    """Its line is the service's own, the status the same."""
    status, lines = _ended(_environment(tmp_path, MAX_QUEUED_JOBS="many"), tmp_path)
    assert status == 2
    assert [line for line in lines if not line.startswith("{")] == [
        "gateway: MAX_QUEUED_JOBS: expected a whole number",
        "presswork: gateway ended while starting; its last lines are above",
    ]


def test_two_services_cannot_have_one_port(tmp_path: Path) -> None:
    """The second is named; it is not taken for up because the first one answers in its place."""
    environment = _environment(tmp_path)
    status, lines = _ended(environment | {"NOTIFIER_PORT": environment["GATEWAY_PORT"]}, tmp_path)
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith("presswork: the notifier cannot use")


@pytest.mark.parametrize("setting", PORTS)
def test_a_taken_port_names_the_setting_that_moves_it(setting: str, tmp_path: Path) -> None:
    """Another process listens there already: one line says which variable to set."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, lines = _ended(_environment(tmp_path, **{setting: str(port)}), tmp_path)
    assert status == 1
    assert len(lines) == 1
    assert f"127.0.0.1:{port} (Address already in use)" in lines[0]
    assert setting in lines[0]


def _closed(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) != 0


async def _said(folder: Path, process: subprocess.Popen[bytes], words: bytes) -> None:
    async with asyncio.timeout(60):
        while words not in (folder / "out").read_bytes():
            assert process.poll() is None
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_hang_up_is_passed_on_and_a_closed_terminal_ends_it(tmp_path: Path) -> None:
    """SIGHUP makes the worker read prices and keys again and ends nothing; the end of the terminal ends all of it."""
    environment = _environment(tmp_path)
    ours, terminal = os.openpty()
    with _started(environment, tmp_path, terminal) as process:
        await _said(tmp_path, process, b"Presswork is up")
        process.send_signal(signal.SIGHUP)
        await _said(tmp_path, process, b"settings_reloaded")
        async with httpx.AsyncClient(verify=NO_TLS, trust_env=False) as client:
            for name in PORTS:
                answer = await client.get(f"http://127.0.0.1:{environment[name]}/health/ready")
                assert answer.status_code == 200
        os.close(terminal)
        os.close(ours)
        assert await asyncio.to_thread(process.wait, 60) == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_any_end_ends_all_of_it(number: signal.Signals, tmp_path: Path) -> None:
    """Behind a proxy, and with settings that are empty, it is up; a signal ends every service, and the same folder and
    ports can be used again, also after the hardest one."""
    if number == signal.SIGKILL and not sys.platform.startswith("linux"):
        pytest.skip("only Linux ends processes with the one that started them")
    environment = _environment(tmp_path, http_proxy="http://127.0.0.1:9", GATEWAY_HOST="", PROVIDERS="")
    gateway = f"http://127.0.0.1:{environment['GATEWAY_PORT']}"
    for _ in range(2 if number == signal.SIGKILL else 1):
        with _started(environment, tmp_path) as process:
            async with asyncio.timeout(60), httpx.AsyncClient(verify=NO_TLS, trust_env=False) as client:
                while b"Presswork is up" not in (tmp_path / "out").read_bytes():
                    assert process.poll() is None
                    await asyncio.sleep(0.05)
                assert (await client.get(f"{gateway}/api/ai/queue-stats")).status_code == 200
            process.send_signal(number)
            status = await asyncio.to_thread(process.wait, 60)
        async with asyncio.timeout(30 if number == signal.SIGKILL else 0.5):
            while not all(_closed(environment[name]) for name in PORTS):
                await asyncio.sleep(0.05)
        assert status == (-number if number == signal.SIGKILL else 0)


@pytest.mark.slow
def test_redis_away_is_said_when_it_gives_up(tmp_path: Path) -> None:
    """A Redis that does not answer is named as what kept a service from becoming ready."""
    environment, said = _environment(tmp_path, REDIS_URL=f"redis://127.0.0.1:{free_port()}"), list[str]()
    for patience in (5, 40):
        status, lines = _ended(environment, tmp_path, _with_patience(patience))
        assert status == 1
        (line,) = [line for line in lines if f"did not become ready in {patience} s" in line]
        said.append(line)
        if ": " in line.removeprefix("presswork: "):
            break  # the service was up soon enough to say why
    assert said[-1].endswith(": The queue cannot be reached")
