"""Links the fragments of a script. Pure.

A fragment becomes a function, which runs when one of those that include the fragment first uses a name of it. A
function that it gives them is `fragments.<fragment>__<name>`, a variable is `fragments.<fragment>.<name>`: its first
use may be an assignment. All other names stay inside of the fragment. So the top level of a fragment may run at any
time of a call, or never: it changes nothing of another one.

A call of a script runs all of its text. When that made all functions of all fragments, it was three quarters of an
empty claim (86 of 115 us on Valkey 9.1): each took 0.1 us for each local variable around it that it uses, and as much
again as garbage. There also were too many names: a function of Lua has 200 local variables, and uses 60 of others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

SCRIPT: Final = ""
"""In the place of a fragment's name: the script itself."""

_MADE: Final = """\
local makers
local fragments = setmetatable({}, {__index = function(made, name)
  local fragment = string.match(name, '^(.-)__') or name
  local make = makers[fragment]
  if not make then return nil end
  makers[fragment] = nil
  make()
  return made[name]
end})"""

_TOP_LEVEL: Final = re.compile(r"^local (?:function (\w+)|(\w[\w, ]*?)(?: =(.*))?$)", re.MULTILINE)
_TOKEN: Final = re.compile(r"--[^\n]*|'[^'\n]*'|(?<!\w)(?<!(?<!\.)\.)([A-Za-z_]\w*)")
"""A comment, a string, or a name that is not a field of something."""


def words(code: str) -> set[str]:
    """Names that occur in code, but for those of fields."""
    return {found[1] for found in _TOKEN.finditer(code) if found[1]}


def bound_prefixes(prefixes: Sequence[str], code: str) -> str:
    """Code that binds those beginnings of keys, the first arguments, that some other code uses."""
    used = words(code)
    bound = {f"{prefix}_prefix": f"ARGV[{i}]" for i, prefix in enumerate(prefixes, 1) if f"{prefix}_prefix" in used}
    return f"local {', '.join(bound)} = {', '.join(bound.values())}" if bound else ""


def linked(
    texts: Mapping[str, str], includes: Mapping[str, Sequence[str]], prefixes: Sequence[str]
) -> tuple[list[str], str]:
    """Code that makes the fragments, and the text of the script.

    `texts`, `includes`: of each fragment, and of `SCRIPT`, its text and the fragments that it names. ValueError when a
    name of a fragment is one of its user's, or of another that the user includes.
    """
    fields = {name: _fields(name, texts, includes) for name in texts}
    bodies = {name: _body(name, texts[name], fields, includes[name]) for name in texts}
    makers = [
        f"{name} = function() -- {name}\nfragments.{name} = {{}}\n{bound_prefixes(prefixes, body)}\n{body}\nend,"
        for name, body in bodies.items()
        if name != SCRIPT
    ]
    return [_MADE, "makers = {", *makers, "}"], bodies[SCRIPT]


def _declared(text: str) -> dict[str, bool]:
    """Names of a text's top level, and whether they are functions."""
    found = _TOP_LEVEL.findall(text)
    return {one.strip(): bool(function) for function, names, _ in found for one in (function or names).split(",")}


def _fields(name: str, texts: Mapping[str, str], includes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Names of a fragment that those use which include it, and what they are called in the script."""
    used = set().union(*(words(texts[user]) for user, named in includes.items() if name in named))
    declared = _declared(texts[name])
    return {
        one: f"fragments.{name}__{one}" if is_function else f"fragments.{name}.{one}"
        for one, is_function in declared.items()
        if one in used
    }


def _body(name: str, text: str, fields: Mapping[str, Mapping[str, str]], included: Iterable[str]) -> str:
    """A text whose names are fields: those that it gives, and those that its fragments give."""
    used, homes, meant = words(text), dict.fromkeys(_declared(text), name), dict(fields[name])
    for home in included:
        for one in used & set(fields[home]):
            if one in homes:
                raise ValueError(f"{one} of {home}.lua is a name of {homes[one] or 'the script'} too")
            homes[one], meant[one] = home, fields[home][one]

    undeclared = _undeclared(text, set(fields[name]))
    return _TOKEN.sub(lambda found: meant.get(found[1], found[0]) if found[1] else found[0], undeclared)


def _undeclared(text: str, names: set[str]) -> str:
    """The text of a fragment without the word `local` before these names of its top level."""

    def declaration(found: re.Match[str]) -> str:
        function, listed, rest = found.groups()
        if function:
            return f"{'' if function in names else 'local '}function {function}"

        own = [one.strip() for one in listed.split(",")]
        hidden = [one for one in own if one not in names]
        start = f"local {', '.join(hidden)};" if hidden else ""
        return f"{start} {listed} ={rest}" if rest is not None else start

    return _TOP_LEVEL.sub(declaration, text)
