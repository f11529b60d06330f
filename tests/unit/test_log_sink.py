"""A log line costs its writer nothing: no error, no wait, no secret, even if it is lost."""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import pytest
import structlog

from shared.telemetry import logs
from shared.telemetry.log_sink import DROPPED, WAITING_BYTES, Sink
from shared.telemetry.redaction import redacted
from tests.support.processes import ROOT


@contextmanager
def _pipe() -> Iterator[tuple[int, TextIO]]:
    """A pipe's reading end, and its writing end as a stream."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="utf-8", closefd=False) as stream:
        yield reader, stream
        for descriptor in (reader, writer):
            with suppress(OSError):
                os.close(descriptor)


def _read(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(descriptor, size - len(data))
    return data


def _dropped() -> float:
    (total,) = (
        sample.value for family in DROPPED.collect() for sample in family.samples if sample.name.endswith("_total")
    )
    return total


def test_lines_that_cannot_be_written_are_counted_and_reported_later() -> None:
    """A full disk, a dead reader, a stream that was closed or never there: the line is lost, and the number is reported
    with the first one that is not."""
    lost: list[int] = []
    before = _dropped()
    with open("/dev/full", "w", encoding="utf-8", buffering=1) as full:
        assert not Sink(full).write("lost\n")
    assert not Sink(None).write("lost\n")
    closed = io.StringIO()
    closed.close()
    assert not Sink(closed).write("lost\n")
    with _pipe() as (reader, stream):
        sink = Sink(stream, on_recovered=lost.append)
        os.close(reader)
        assert [sink.write("lost\n") for _ in range(3)] == [False] * 3
        again, new = os.pipe()
        os.dup2(new, stream.fileno())
        os.close(new)
        assert sink.write("kept\n")
        assert _read(again, 5) == b"kept\n"
        os.close(again)
    assert lost == [3]
    assert _dropped() == before + 6


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
def test_a_slow_reader_keeps_nobody_waiting(blocking: bool) -> None:
    """Lines wait for it within bounds, in order; beyond the bound they are lost. Nobody who writes one waits."""
    with _pipe() as (reader, stream):
        if not blocking:
            fcntl.fcntl(stream.fileno(), fcntl.F_SETFL, os.O_NONBLOCK)
        sink = Sink(stream)
        began = time.monotonic()
        taken = [number for number in range(8_000) if sink.write(f"{number:063d}\n")]
        assert time.monotonic() - began < 60
        assert WAITING_BYTES / 64 < len(taken) < 8_000
        lines = [int(line) for line in _read(reader, 64 * len(taken)).split()]
        assert lines == taken
        sink.drain(10)
        assert sink.write("again\n")
        assert _read(reader, 6) == b"again\n"


def test_a_long_line_may_not_hold_up_either() -> None:
    """A line longer than a pipe is written by the thread."""
    with _pipe() as (reader, stream):
        sink = Sink(stream)
        assert sink.write("x" * 200_000 + "\n")
        assert len(_read(reader, 200_001)) == 200_001
        sink.drain(10)


class _Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.usefixtures("logging_restored")
@pytest.mark.parametrize("value", ["\ud83d half", _Unspeakable(), {"deep": _Unspeakable()}, b"\xff", {(1, 2): 3}])
def test_a_value_that_cannot_be_shown_costs_its_line_alone(value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Half an emoji or an object without words is no error for who logs it."""
    logs.configure("gateway", "INFO")
    structlog.get_logger().info("odd", value=value)
    logging.getLogger("library").warning("odd %s", value)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines[0]["event"] == "odd"
    structlog.get_logger().info("after")


SECRETS = {
    "redis://default:pl4nted/with@odd#signs@host:6379/0 is away": "redis://***@host:6379/0 is away",
    "Illegal header value b'Bearer pl4nted.abc-123'": "Illegal header value b'Bearer ***'",
    "{'x-api-key': 'pl4nted', 'a': 1}": "{'x-api-key': '***', 'a': 1}",
    "Incorrect API key provided: sk-proj-pl4nted_1": "Incorrect API key provided: sk-***",
    "password=pl4nted, host=x": "password=***, host=x",
    "http://host/path?to=jane, nothing here: tokens=12": "http://host/path?to=jane, nothing here: tokens=12",
}


def test_secrets_are_taken_out_of_the_text_of_others() -> None:
    """Passwords in URLs, bearer tokens and keys; texts that only resemble one stay. Long texts take no long
    time."""
    assert {text: redacted(text) for text in SECRETS} == SECRETS
    written = io.StringIO()
    sink = Sink(written)
    assert all(sink.write(f"{text}\n") for text in SECRETS)
    assert written.getvalue().splitlines() == list(SECRETS.values())
    began = time.process_time()
    for text in ("://" * 50_000, "password" * 20_000 + "@", "bearer " * 20_000, "sk-" * 50_000, "@" + "://a" * 40_000):
        redacted(text)
    assert time.process_time() - began < 1


_CRASH = """
import asyncio, sys, threading
from shared.server import serve
from shared.telemetry import logs
async def main():
    token, url = "pl4nted-local", "redis://:pl4nted@host/0"
    logs.configure("gateway")
    def fail(argument): raise RuntimeError(f"cannot reach {url} with Bearer pl4nted-token")
    asyncio.get_running_loop().call_soon(fail, token)
    thread = threading.Thread(target=fail, args=(token,)); thread.start(); thread.join()
    class Gone:
        def __del__(self): fail(token)
    Gone()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    fail(token)
sys.exit(serve.run("gateway", main()))
"""


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_what_nobody_caught_shows_no_locals_and_no_secret(terminal: bool) -> None:
    """In the main task, in a callback of the loop, in a thread and in a finalizer, on a terminal as in a file."""
    reader, writer = os.openpty() if terminal else os.pipe()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    process = subprocess.Popen([sys.executable, "-c", _CRASH], env=environment, stdout=writer, stderr=writer)
    os.close(writer)
    said = b""
    while True:
        try:
            piece = os.read(reader, 65_536)
        except OSError:  # how a terminal ends
            break
        if not piece:
            break
        said += piece
    os.close(reader)
    assert process.wait(20) == 1
    text = said.decode()
    assert text.count("RuntimeError") >= 4
    assert text.count("unhandled_error") == 4
    assert "pl4nted" not in text
    assert len(text) < 20_000
