"""Compares the signature of each script with the header of its source, when a store begins."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from functools import cache
from typing import NamedTuple, get_args, get_overloads, get_type_hints

from shared.store.engine.admin_signatures import RunAdminScript
from shared.store.engine.items import BATCHED
from shared.store.engine.signatures import RunScript


class Signature(NamedTuple):
    """Names that calls of one script give: `argv` in any order, those of each `item` in theirs."""

    argv: frozenset[str]
    item: tuple[str, ...]


@cache
def declared() -> dict[str, Signature]:
    """The signature of each script."""
    found = {name: Signature(frozenset(), item.__struct_fields__) for name, item in BATCHED.items()}
    for stub in (*get_overloads(RunScript.__call__), *get_overloads(RunAdminScript.__call__)):
        hints = get_type_hints(stub)
        parameters = inspect.signature(stub).parameters.values()
        argv = frozenset(given.name for given in parameters if given.kind is inspect.Parameter.KEYWORD_ONLY)
        item = get_args(hints["items"])[0].__struct_fields__ if "items" in hints else ()
        for name in get_args(hints["script"]):
            found[name] = Signature(argv, item)
    return found


def check(script: str, argv: Collection[str], item: Sequence[str]) -> None:
    """ValueError when a script's header and its signature name different values."""
    signature = declared().get(script)
    if signature is None:
        raise ValueError(f"{script}.lua has no signature in engine/signatures.py or engine/admin_signatures.py")
    if unknown := signature.argv - set(argv):
        raise ValueError(f"{script}.lua is called with {', '.join(sorted(unknown))}, which its ARGV does not name")
    if signature.item != tuple(item):
        raise ValueError(f"{script}.lua takes the items {' '.join(item)}, but is given {' '.join(signature.item)}")
