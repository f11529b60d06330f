"""The command line's standard streams: closed, full, not UTF-8; and Ctrl-C before anything came."""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path

import pytest

from tests.clients.python.command import Command, Ended, interrupted
from tests.e2e.conftest import StackMaker

pytestmark = pytest.mark.timeout(300)

UNKNOWN = "ai-job-1737465123456-0bc123def"


async def _in_a_shell(command: Command, line: str) -> Ended:
    """The end of a line of the shell, in which `presswork` is the command."""
    code = f'presswork() {{ {shlex.quote(sys.executable)} -m presswork_client "$@"; }}; {line}'
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", code, env=command.environment, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full: the system is not Linux")
async def test_odd_standard_streams_end_no_command_with_a_traceback(stack: StackMaker) -> None:
    """Each has its exit status, and says what to do; a job that was made is named when its text finds no place."""
    async with stack(DEMO_TOKENS_PER_SECOND="0") as running:
        command = Command(running.gateway.url)
        for line, status, said in (
            ("presswork run tea >/dev/full", 1, "goes on: presswork watch ai-job-"),
            ("presswork jobs >/dev/full", 1, "No space left"),
            ("presswork jobs >&-", 0, ""),
            ("presswork run - <&-", 1, "prompt"),
            (r"printf '\377' | presswork run -", 2, "UTF-8"),
            (r"""presswork run "$(printf '\377')" """, 2, "UTF-8"),
            (f"presswork job {UNKNOWN} 2>&-", 1, ""),
            ("presswork run tea 2>&- | head -c 2 >/dev/null", 0, ""),
        ):
            ended = await _in_a_shell(command, line)
            assert (ended.status, "Traceback" in ended.err) == (status, False), (line, ended.err)
            assert said in ended.err, line

        ended = await command("watch", UNKNOWN)
    assert (ended.status, "no such job" in ended.err, "goes on" in ended.err) == (1, True, False)


async def test_an_interrupted_submit_says_that_its_job_may_be_there() -> None:
    """Ctrl-C while the service has not answered."""
    arrived = asyncio.Event()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        process = await Command(f"http://127.0.0.1:{port}").start("run", "tea")
        async with asyncio.timeout(60):
            await arrived.wait()
        ended = await interrupted(process)
    assert (ended.status, ended.out) == (130, "")
    assert "may be in the queue" in ended.err
    assert "Traceback" not in ended.err


async def test_ctrl_c_while_the_command_starts_is_an_interruption(tmp_path: Path) -> None:
    """It comes while the packages are imported."""
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich/__init__.py").write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    command = Command("http://127.0.0.1:1")
    paths = f"{tmp_path}:{command.environment['PYTHONPATH']}"
    ended = await command("jobs", environment={"PYTHONPATH": paths})
    assert (ended.status, ended.out, ended.err) == (130, "", "")
