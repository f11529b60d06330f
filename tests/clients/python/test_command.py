"""The command line as real processes: output, exit statuses, and what an interruption leaves."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pytest
from presswork_client.cli.output import Output
from presswork_client.cli.streaming import GrowingText

from tests.clients.python.command import Command, interrupted, on_a_terminal
from tests.clients.python.reading import PROMPT
from tests.e2e.conftest import StackMaker
from tests.support.callers import OPERATOR, TOKENS
from tests.support.processes import free_port

pytestmark = pytest.mark.timeout(300)


async def test_run_streams_the_text_and_says_how_it_ended(stack: StackMaker) -> None:
    """Into a pipe piece by piece: the first comes long before the end; then the whole text, and status 0."""
    async with stack(DEMO_TOKENS_PER_SECOND="40") as running:
        process = await Command(running.gateway.url).start("run", PROMPT, "--platform", "linkedin")
        assert process.stdout is not None
        async with asyncio.timeout(60):
            first = await process.stdout.read(8)
            stats = await running.stats()
            out, _ = await process.communicate()
        (row,) = json.loads((await Command(running.gateway.url)("jobs", "--json")).out)
        view = json.loads((await Command(running.gateway.url)("job", row["jobId"], "--json")).out)
    assert stats["processing"] == 1
    assert process.returncode == 0
    assert (first + out).decode().removesuffix("\n") == view["result"]
    assert view["metadata"]["platform"] == "linkedin"


async def test_run_as_json_gives_the_events(stack: StackMaker) -> None:
    """One a line; the pieces add up to the result. The prompt may come from standard input."""
    async with stack(DEMO_TOKENS_PER_SECOND="200") as running:
        ended = await Command(running.gateway.url)("run", "-", "--json", "-p", "tone=casual", stdin=PROMPT)
    events = [json.loads(line) for line in ended.out.splitlines()]
    assert [event["event"] for event in events][:2] == ["queued", "processing"]
    assert "".join(event["text"] for event in events if event["event"] == "delta") == events[-1]["result"]
    assert (ended.status, events[-1]["event"]) == (0, "completed")


async def test_a_file_gets_the_text_when_it_is_whole(stack: StackMaker, tmp_path: Path) -> None:
    """Nothing while the job runs: text that a lost attempt wrote could not be taken back."""
    path = tmp_path / "post.txt"
    async with stack(DEMO_TOKENS_PER_SECOND="40") as running:
        command = Command(running.gateway.url)
        with path.open("wb") as file:
            process = await command.start("run", PROMPT, stdout=file.fileno())
        await running.until_processing(1)
        (row,) = json.loads((await command("jobs", "--json")).out)
        meanwhile, status = path.read_text(encoding="utf-8"), (await running.stats())["processing"]
        async with asyncio.timeout(60):
            await process.communicate()
        view = await running.end(row["jobId"])
    assert meanwhile == "" or status == 0
    assert path.read_text(encoding="utf-8") == f"{view['result']}\n"


def test_a_text_that_begins_again_does_so_on_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A prefix that stays is not repeated; another text follows whole, with a note beside it."""
    text = GrowingText(Output(as_json=False))
    for so_far in ("", "One ", "One two", "", "One", "One two three", "", "Un", "Un deux"):
        text.show(so_far)
    text.finish()
    shown = capsys.readouterr()
    assert shown.out.endswith("\nUn deux\n")
    assert shown.out.count("Un deux") == 1
    assert "begins again" in shown.err


async def test_a_failed_job_is_status_1(stack: StackMaker) -> None:
    """The reason is on standard error, with the attempts; a retry makes one new job."""
    async with stack(DEMO_FAILURE_RATE="1", DEMO_TOKENS_PER_SECOND="0") as running:
        ended = await Command(running.gateway.url)("run", "Write")
        (row,) = json.loads((await Command(running.gateway.url)("jobs", "--status", "failed", "--json")).out)
        again = await Command(running.gateway.url)("retry", row["jobId"], "--json")
        same = await Command(running.gateway.url)("retry", row["jobId"], "--json")
    assert ended.status == 1
    assert f"failed: {row['error']['type']}: {row['error']['message']}" in ended.err
    assert "attempt 3" in ended.err
    assert json.loads(again.out) == json.loads(same.out)


async def test_an_interrupted_run_cancels_its_job_or_leaves_it(stack: StackMaker) -> None:
    """Ctrl-C: status 130, and the job is cancelled; with `--on-interrupt detach` it goes on and can be watched."""
    async with stack(DEMO_TOKENS_PER_SECOND="20") as running:
        command = Command(running.gateway.url)
        for option, status in (("cancel", "cancelled"), ("detach", "completed")):
            process = await command.start("run", "Write", "--length", "short", "--on-interrupt", option)
            assert process.stdout is not None
            await process.stdout.read(1)
            ended = await interrupted(process)
            row = json.loads((await command("jobs", "--limit", 1, "--json")).out)[0]
            watched = await command("watch", row["jobId"])
            view = await running.end(row["jobId"])
            assert (ended.status, view["status"]) == (130, status)
            assert watched.out == f"{view['result']}\n"
            assert watched.status == {"cancelled": 3, "completed": 0}[status]


async def test_a_file_is_submitted_once_however_often_it_is_cut(stack: StackMaker, tmp_path: Path) -> None:
    """kill -9 in the middle, then again: 3,000 lines are 3,000 jobs; a third run submits nothing."""
    path = tmp_path / "jobs.jsonl"
    lines = [json.dumps({"prompt": f"Write {number}", "parameters": {"length": "short"}}) for number in range(2998)]
    path.write_text("\n".join([*lines, '"Write"', '"Write"']) + "\n", encoding="utf-8")
    journal = tmp_path / "jobs.jsonl.jobs"
    async with stack(DEMO_TOKENS_PER_SECOND="0") as running:
        command = Command(running.gateway.url)
        for size in (50_000, 100_000):
            process = await command.start("submit", path)
            async with asyncio.timeout(60):
                while process.returncode is None and not (journal.exists() and journal.stat().st_size > size):
                    await asyncio.sleep(0)
            if process.returncode is None:
                process.kill()
            await process.communicate()
        last = await command("submit", path, "--json")
        again = await command("submit", path)
        stats = await running.stats()
    answers = [json.loads(line) for line in last.out.splitlines()]
    assert sum(stats[name] for name in ("queued", "processing", "completed")) == 3000
    assert {answer["line"] for answer in answers} == set(range(1, 3001))
    assert len({answer["jobId"] for answer in answers}) == 3000
    assert (last.status, again.status) == (0, 0)
    assert "0 of 3000 submitted, 3000 were before" in again.out


async def test_bad_lines_are_named_and_can_be_repaired(stack: StackMaker, tmp_path: Path) -> None:
    """The others are submitted; after the repair a run submits the repaired line alone."""
    path = tmp_path / "jobs.jsonl"
    lines = ['"Write"', "no json", '{"prompt": ""}', r'"half \ud83d"', '{"a":' * 300 + "1" + "}" * 300]
    path.write_text("\n".join(lines), encoding="utf-8")
    async with stack() as running:
        command = Command(running.gateway.url)
        first = await command("submit", path)
        path.write_text('"Write"\n"Something"\n{"prompt": ""}\n', encoding="utf-8")
        second = await command("submit", path, "--json")
    assert (first.status, second.status) == (1, 1)
    assert "line 2: " in first.err
    assert "line 3: " in first.err
    assert "line 4: it holds half an emoji" in first.err
    assert "line 5: it is nested deeper than 100 levels" in first.err
    assert "1 of 5 submitted, 4 refused" in first.out
    kinds = {answer["line"]: answer.keys() - {"line"} for answer in map(json.loads, second.out.splitlines())}
    assert kinds == {1: {"jobId"}, 2: {"jobId"}, 3: {"error"}}


async def test_usage_as_csv_is_safe_to_open(stack: StackMaker) -> None:
    """RFC 4180; a cell that a spreadsheet would calculate is text."""
    async with stack(DEMO_TOKENS_PER_SECOND="0") as running:
        command = Command(running.gateway.url, PRESSWORK_PROJECT="=1+1")
        await command("run", "Write")
        async with asyncio.timeout(30):
            while len(rows := list(csv.DictReader((await command("usage", "--csv")).out.splitlines()))) == 0:
                await asyncio.sleep(0.1)
        document = json.loads((await command("usage", "--json")).out)
    assert (rows[0]["projectId"], rows[0]["jobs"], rows[0]["model"]) == ("'=1+1", "1", "demo")
    assert document["totals"]["jobs"] == 1
    assert document["rows"][0]["projectId"] == "=1+1"


async def test_keys_are_made_and_revoked(stack: StackMaker) -> None:
    """An operator's: the key is on standard output once, works, is listed without its secret, and ends."""
    async with stack(API_TOKENS=TOKENS) as running:
        command = Command(running.gateway.url, PRESSWORK_API_KEY=OPERATOR)
        scopes = ("--scope", "stats:read", "jobs:read")
        made = await command("keys", "create", *scopes, "--organization", "alice", "--json")
        key = json.loads(made.out)
        own = Command(running.gateway.url, PRESSWORK_API_KEY=key["key"])
        assert (await own("watch", "--count", 1)).out.startswith("queued 0")
        refused = await own("usage")
        listed = await command("keys")
        assert (await command("keys", "revoke", key["id"])).status == 0
        revoked = await own("watch", "--count", 1)
    assert key["key"] not in listed.out
    assert f"{key['id']}\talice\tstats:read jobs:read" in listed.out
    assert (refused.status, "usage:read" in refused.err) == (1, True)
    assert (revoked.status, "PRESSWORK_API_KEY" in revoked.err) == (1, True)


async def test_an_older_gateway_is_named(stack: StackMaker) -> None:
    """A command for a call that this gateway does not serve says so, and which call it is."""
    async with stack(API_TOKENS=TOKENS) as running:
        command = Command(running.gateway.url, PRESSWORK_API_KEY=OPERATOR)
        for words in (["failures"], ["gates", "--json"], ["workers"], ["redrive", "--error-type", "Timeout", "--yes"]):
            ended = await command(*words)
            if ended.status == 0:
                continue  # a later gateway serves it
            assert ended.status == 1
            assert "does not serve /api/admin/" in ended.err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["jobs", "--status", "lost"], 2, "--status"),
        (["run"], 2, "PROMPT"),
        (["run", "x", "-p", "novalue"], 2, "name=value"),
        (["usage", "--from", "yesterday"], 2, "--from"),
        (["submit", "no-such-file.jsonl"], 2, "no-such-file"),
        (["redrive"], 2, "--error-type"),
        (["organizations", "--pause"], 2, "organization"),
        (["nonsense"], 2, "nonsense"),
        (["jobs"], 4, "does not answer"),
    ],
)
async def test_a_wrong_command_is_named(words: list[str], status: int, said: str) -> None:
    """On standard error, with the status that says whose fault it is; nothing is on standard output."""
    ended = await Command(f"http://127.0.0.1:{free_port()}")(*words)
    assert (ended.status, ended.out) == (status, "")
    assert said in ended.err
    assert "Traceback" not in ended.err


async def test_a_readable_file_with_a_key_is_refused(tmp_path: Path) -> None:
    """Before anything is sent."""
    path = tmp_path / "config.toml"
    path.write_text('key = "pw_secret"\n', encoding="utf-8")
    path.chmod(0o644)
    ended = await Command("http://127.0.0.1:1")("jobs", environment={"PRESSWORK_CONFIG": str(path)})
    assert (ended.status, "chmod 600" in ended.err, "pw_secret" in ended.err) == (2, True, False)


async def test_texts_of_others_do_not_move_a_terminal(stack: StackMaker) -> None:
    """On a terminal the control characters of a prompt's text are shown as such; in a pipe they stay."""
    async with stack(DEMO_TOKENS_PER_SECOND="0") as running:
        hostile = "Write a post about \x1b[31mred [bold]mugs[/bold]."
        command = Command(running.gateway.url)
        plain = await command("run", hostile)
        view: dict[str, Any] = json.loads((await command("jobs", "--json")).out)[0]
        shown = await asyncio.to_thread(on_a_terminal, command, "job", view["jobId"])
    assert "\x1b[31mred [bold]mugs[/bold]" in plain.out
    assert "\x1b[31m" not in shown
    assert "[bold]mugs[/bold]" in shown
