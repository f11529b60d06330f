"""The append-only file: whether the server has rewritten it since a moment, as far as its INFO shows."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from shared.store.append_only_file import AppendOnlyFile, FileState
from shared.store.connection.multiplexer import Reply

STATE = FileState(run_id="r", enabled=True, rewrites=3, busy=False, ok=True)


@pytest.mark.parametrize(
    ("state", "run_id", "rewrites", "shown"),
    [
        (STATE, "r", 2, True),
        (STATE, "r", 3, False),
        (STATE, "another", 2, False),
        (FileState(run_id="r", enabled=True, rewrites=3, busy=True, ok=True), "r", 2, False),
        (FileState(run_id="r", enabled=True, rewrites=3, busy=False, ok=False), "r", 2, False),
        (FileState(run_id="r", enabled=False, rewrites=3, busy=False, ok=True), "r", 2, False),
    ],
    ids=["since", "before", "restarted", "under way", "failed", "off"],
)
def test_only_a_rewrite_that_is_known_is_said(state: FileState, run_id: str, rewrites: int, *, shown: bool) -> None:
    """It began after the moment, in the same run of the server, and was written."""
    assert state.shows_rewrite_since(run_id, rewrites) is shown


class _Host:
    """A host that answers INFO with a text, or not at all, and refuses everything else."""

    def __init__(self, info: bytes | None) -> None:
        self._info = info

    async def execute(self, *command: bytes | str | int | float) -> Reply:
        """See `Transport`."""
        if command[0] != "INFO" or self._info is None:
            raise ResponseError("ERR Command is not available")
        return self._info


@pytest.mark.parametrize("info", [None, b"", b"run_id:1\r\naof_enabled:1\r\n", b"aof_rewrites:many\r\n"])
async def test_of_a_host_that_does_not_tell_nothing_is_known(info: bytes | None) -> None:
    """Neither the state, nor a rewrite that it refuses."""
    file = AppendOnlyFile(_Host(info))
    assert await file.state() is None
    assert await file.rewrite() is False
