"""Fragments of scripts, linked: what makes them, and what their names mean."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.store.engine import linking, scripts
from tests.support.checks import RawRedis


async def test_a_fragment_is_made_once_when_a_name_of_it_is_first_used(raw: RawRedis) -> None:
    """One that a call does not use costs it nothing; what it gives may be changed by its users."""
    texts = {
        "counting": "redis.call('INCR', 'made')\nlocal total\nlocal step = 2\n"
        "local function add(number) total = (total or 0) + number * step end",
        "adding": "local function add_all() for i = 1, 3 do add(i) end end",
        linking.SCRIPT: "if ARGV[1] == 'idle' then return 0 end\n"
        "add_all()\nstep = 100\nadd_all()\nreturn {total, #'total'}",
    }
    includes = {"counting": (), "adding": ("counting",), linking.SCRIPT: ("adding", "counting")}
    makers, body = linking.linked(texts, includes, ())
    script = "\n".join([*makers, body])

    assert await raw("EVAL", script, 0, "idle") == 0
    assert await raw("GET", "made") is None
    assert await raw("EVAL", script, 0, "busy") == [612, 5]
    assert await raw("GET", "made") == b"1"


@pytest.mark.parametrize("own", ["local add = 1", "-- INCLUDE other"])
def test_a_name_that_means_two_things_is_an_error_at_the_start(own: str) -> None:
    """Two fragments that give one name, or a user with a name of its fragment's, are found before a script is sent."""
    texts = {"one": "local add = 1", "other": "local add = 2", linking.SCRIPT: f"{own}\nreturn add"}
    included = ("one", "other") if "other" in own else ("one",)
    with pytest.raises(ValueError, match="add of"):
        linking.linked(texts, {"one": (), "other": (), linking.SCRIPT: included}, ())


@pytest.mark.parametrize("name", scripts.names())
async def test_a_server_takes_every_script(name: str, raw: RawRedis) -> None:
    """Lua allows 200 local variables in a function, and 60 of those around it."""
    script = scripts.load(name)
    assert await raw("SCRIPT", "LOAD", script.source) == script.sha.encode()


async def test_a_fragment_is_made_before_a_variable_of_it_is_assigned_to(raw: RawRedis) -> None:
    """A value that a user writes first is not lost to the one that the fragment begins with."""
    texts = {
        "counting": "local total = 0\nlocal function seen() return total end",
        linking.SCRIPT: "total = 7\nreturn seen()",
    }
    makers, body = linking.linked(texts, {"counting": (), linking.SCRIPT: ("counting",)}, ())
    assert await raw("EVAL", "\n".join([*makers, body]), 0) == 7


async def test_a_call_knows_which_fragments_it_made(raw: RawRedis) -> None:
    """A fragment that was not made has nothing to save; one that the script lacks is an error before it is sent."""
    asking = "if ARGV[1] ~= '' then total = 1 end\nreturn is_made('counting')"
    texts = {"counting": "local total = 0", linking.SCRIPT: asking}
    includes: dict[str, tuple[str, ...]] = {"counting": (), linking.SCRIPT: ("counting",)}
    makers, body = linking.linked(texts, includes, ())
    script = "\n".join([*makers, body])
    assert (await raw("EVAL", script, 0, ""), await raw("EVAL", script, 0, "x")) == (None, 1)

    with pytest.raises(ValueError, match="asks for counted"):
        linking.linked({**texts, linking.SCRIPT: "return is_made('counted')"}, includes, ())


FRAGMENTS = {path.stem: path.read_text() for path in (Path(scripts.__file__).parents[1] / "lua/include").glob("*.lua")}
CALLED = re.compile(r"(?<![\w.])(\w+)\(")
ASSIGNED = re.compile(r"^\s*([\w, .\[\]]+?) = ", re.MULTILINE)


def _split(text: str) -> tuple[str, dict[str, str]]:
    """The top level of a fragment without its functions, and these by name."""
    top_level, functions, name = list[str](), dict[str, str](), ""
    for line in re.sub(r"--[^\n]*", "", text).splitlines():
        begins = re.match(r"local function (\w+)", line)
        if begins:
            name = begins[1]
        if not name:
            top_level.append(line)
            continue
        functions[name] = f"{functions.get(name, '')}{line}\n"
        if line == "end" or (begins and line.endswith(" end")):
            name = ""
    return "\n".join(top_level), functions


@pytest.mark.parametrize("name", sorted(FRAGMENTS))
def test_the_top_level_of_a_fragment_may_run_at_any_time(name: str) -> None:
    """It sends no command, but for the time of the call, uses no name of another fragment, and calls no function that
    changes one: when it runs, and whether it does, depends on the work of the call."""
    top_level, functions = _split(FRAGMENTS[name])
    included = re.findall(r"^-- INCLUDE (.+)$", FRAGMENTS[name], re.MULTILINE)
    others = {one for home in " ".join(included).split() for one in linking._declared(FRAGMENTS[home])}

    assert "redis." not in top_level
    assert linking.words(top_level) & others <= ({"now_ms"} if name == "now" else set())
    for called in set(CALLED.findall(top_level)) & functions.keys():
        assert "redis." not in functions[called]
        assert not set(CALLED.findall(functions[called])) & others
        assert not linking.words(" ".join(ASSIGNED.findall(functions[called]))) & others
