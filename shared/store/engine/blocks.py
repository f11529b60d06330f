"""Encloses the fragments of a script in blocks. Pure.

A function of Lua has 200 local names at most, so a name that no other file uses stays inside of its file's block.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

_TOP_LEVEL: Final = re.compile(r"^local (?:function (\w+)|(\w[\w, ]*?)(?: =(.*))?$)", re.MULTILINE)
_NO_CODE: Final = re.compile(r"--[^\n]*|'[^'\n]*'")
_WORD: Final = re.compile(r"(?<![.\w])[A-Za-z_]\w*")
_SCRIPT: Final = ""
"""In the place of a fragment's name: the script itself."""


def _words(text: str) -> set[str]:
    """Names that occur in code."""
    return set(_WORD.findall(_NO_CODE.sub("", text)))


def bound_prefixes(prefixes: Sequence[str], code: str) -> str:
    """Code that binds those beginnings of keys, the first arguments, that some other code uses."""
    words = _words(code)
    bound = {f"{prefix}_prefix": f"ARGV[{i}]" for i, prefix in enumerate(prefixes, 1) if f"{prefix}_prefix" in words}
    return f"local {', '.join(bound)} = {', '.join(bound.values())}" if bound else ""


def enclosed(fragments: Mapping[str, str], script: str, prefixes: Sequence[str]) -> list[str]:
    """The fragments as blocks, each after a declaration of those of its names that other files use.

    One that is used inside of one other alone is a part of that one's block: its names count no longer than there.
    """
    words = {name: _words(text) for name, text in fragments.items()} | {_SCRIPT: _words(script)}
    made: dict[str, list[str]] = {}
    users: dict[str, list[str]] = {}
    order = list(words)
    for place, (name, text) in enumerate(fragments.items()):
        later = {other: words[other] for other in order[place + 1 :]}
        body, given = _declared(text, set().union(*later.values()))
        users[name] = [other for other, found in later.items() if found & set(given)]
        made[name] = [
            f"local {', '.join(given)}" if given else "",
            f"do -- {name}\n{bound_prefixes(prefixes, text)}",
            f"{body}\nend -- {name}",
        ]

    enclosing = _enclosing(users)
    blocks: dict[str, list[str]] = {name: [] for name in words}
    for name, (declaration, start, rest) in made.items():
        blocks[enclosing[name]] += [declaration, start, *blocks[name], rest]
    return blocks[_SCRIPT]


def _enclosing(users: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The fragment, or the script, in whose block each fragment is: the innermost one that has all of its users.

    `users`: of each fragment, in an order in which they come after it.
    """
    found: dict[str, str] = {}

    def outwards(name: str) -> list[str]:
        return [name] if name == _SCRIPT else [name, *outwards(found[name])]

    for name in reversed(list(users)):
        paths = [outwards(user) for user in users[name]]
        shared = (one for one in paths[0] if all(one in path for path in paths)) if paths else iter(())
        found[name] = next(shared, _SCRIPT)
    return found


def _declared(text: str, used: set[str]) -> tuple[str, list[str]]:
    """The text of a fragment, but without a declaration of those of its names that are in `used`; and these."""
    given: list[str] = []

    def declare(found: re.Match[str]) -> str:
        function, names, rest = found.groups()
        if function:
            given.extend({function} & used)
            return f"{'' if function in used else 'local '}function {function}"
        own = [one.strip() for one in names.split(",")]
        given.extend(one for one in own if one in used)
        hidden = [one for one in own if one not in used]
        start = f"local {', '.join(hidden)};" if hidden else ""
        return f"{start} {names} ={rest}" if rest is not None else start

    return _TOP_LEVEL.sub(declare, text), given
