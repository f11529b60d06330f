"""Meaning of a refusal inside a script for its item."""

from __future__ import annotations

import pytest

from shared.errors import LeaseLost, PressworkError, StoreFull, StoreRejected, StoreUnavailable
from shared.store.engine.calls import check_item


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("READONLY You can't write against a read only replica.", StoreUnavailable),
        ("MISCONF Errors writing to the AOF file: No space left on device", StoreUnavailable),
        ("NOREPLICAS Not enough good replicas to write.", StoreUnavailable),
        ("ERR Script attempted to access a non local key in a cluster node", StoreUnavailable),
        ("ERR Script attempted to access keys while the cluster is down", StoreUnavailable),
        ("NOPERM this user has no permissions to run the 'xadd' command", StoreUnavailable),
        ("ERR The user executing the script can't run this command or subcommand", StoreUnavailable),
        ("OOM command not allowed when used memory > 'maxmemory'.", StoreFull),
        ("NOGROUP No such key 'x' or consumer group 'workers'", LeaseLost),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", StoreRejected),
    ],
)
def test_passing_and_lasting_refusals_are_distinguished(message: str, kind: type[PressworkError]) -> None:
    """A refusal that passes is repeated; after another one its item alone is given up."""
    with pytest.raises(PressworkError) as raised:
        check_item([b"ERROR", message.encode()])
    assert type(raised.value) is kind
