"""The Lua sources: headers, sizes, names."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from shared.settings import StoreSettings
from shared.store.engine import scripts, signature_check
from shared.store.engine.scripts import load
from shared.store.job_store import open_store
from shared.store.keys import FIXED, PREFIXES, Keys

FOLDER = Path(scripts.__file__).parents[1] / "lua"
NAMES = sorted(path.stem for path in FOLDER.glob("*.lua"))
ARGUMENTS = {name for script in NAMES for name in (*scripts.load(script).argv, *scripts.load(script).item)}


@pytest.mark.parametrize("name", NAMES)
def test_every_script_declares_what_it_takes(name: str) -> None:
    """Its keys and prefixes are known ones, its name is its verb, and its text has no key of its own."""
    script = scripts.load(name)
    assert set(script.keys) <= set(FIXED)
    assert set(script.prefixes) <= set(PREFIXES)
    assert "pw:" not in script.source
    assert len(script.sha) == 40


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.lua")), ids=lambda path: path.stem)
def test_scripts_stay_small_and_say_what_they_do(path: Path) -> None:
    """A file begins with its purpose, and a reader sees all of it on two screens."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("-- ")
    assert text.count("\n") <= 110


def _names(pattern: str, text: str) -> set[str]:
    return {name.strip() for found in re.findall(pattern, text, re.MULTILINE) for name in found.split(",")}


def _given(text: str) -> set[str]:
    """Names that a fragment gives to those that include it."""
    return _names(r"^local (?:function )?([\w, ]+?)\s*(?:=|\(|$)", text)


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.lua")), ids=lambda path: path.stem)
def test_every_file_names_the_fragments_that_it_uses(path: Path) -> None:
    """No fragment relies on one that only its includer names; none is named that is not used."""
    given = {home.stem: _given(home.read_text(encoding="utf-8")) for home in (FOLDER / "include").glob("*.lua")}
    text = path.read_text(encoding="utf-8")
    named = set(scripts._header(text).get("INCLUDE", ()))
    code = re.sub(r"--.*|'[^'\n]*'", "", text)
    words = set(re.findall(r"(?<![.\w])\w+", re.sub(r"([{,]\s*)\w+ =(?!=)", r"\1", code)))
    assert {name for name in named if not given[name] & words} == set()

    own = _names(r"local (?:function )?([\w, ]+)", code) | _names(r"function ?\w*\(([\w,. ]*)\)", code)
    for word in words - own - _names(r"for ([\w, ]+) in", code) - ARGUMENTS:
        homes = {name for name in given if word in given[name]}
        assert not homes or homes & named, word


def test_a_fragment_is_loaded_once_after_what_it_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader orders fragments; a circle is an error that names it."""
    (tmp_path / "include").mkdir()
    (tmp_path / "top.lua").write_text("-- RETURNS 1\n-- INCLUDE b a\n")
    (tmp_path / "include" / "a.lua").write_text("-- A.\n")
    (tmp_path / "include" / "b.lua").write_text("-- B.\n-- INCLUDE c a\n")
    (tmp_path / "include" / "c.lua").write_text("-- C.\n-- INCLUDE a\n")
    monkeypatch.setattr(scripts, "_folder", lambda: tmp_path)
    assert scripts.load.__wrapped__("top").fragments == ("a", "c", "b")

    (tmp_path / "include" / "a.lua").write_text("-- A.\n-- INCLUDE b\n")
    with pytest.raises(ValueError, match="includes itself"):
        scripts.load.__wrapped__("top")


@pytest.mark.parametrize("name", NAMES)
def test_every_script_has_a_signature(name: str) -> None:
    """Calls give the values that the header takes, by name."""
    script = scripts.load(name)
    signature_check.check(name, script.argv, script.item)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("finish", {"item": (*load("finish").item[:-1], "renamed")}),
        ("finish", {"item": load("finish").item[::-1]}),
        ("finish", {"argv": (*load("finish").argv, "renamed")}),
        ("claim", {"argv": load("claim").argv[1:]}),
    ],
    ids=["item", "order", "constant", "argument"],
)
async def test_a_store_does_not_begin_with_a_header_that_was_changed_alone(
    name: str, changed: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that is renamed, moved, or that nothing gives, is found at the start."""
    script = msgspec.structs.replace(load(name), **changed)
    monkeypatch.setattr(scripts, "load", lambda wanted: script if wanted == name else load(wanted))
    with pytest.raises(ValueError, match=f"{name}.lua"):
        await open_store(StoreSettings(redis_url="redis://localhost:1"), client_name="test").__aenter__()


def test_only_the_lease_fragment_acknowledges() -> None:
    """XACK is in one place, where XDEL follows it."""
    found = {path.name for path in FOLDER.rglob("*.lua") if re.search(r"'XACK'", path.read_text(encoding="utf-8"))}
    assert found == {"lease.lua"}


def test_all_keys_of_a_shard_share_one_hash_tag() -> None:
    """Redis Cluster keeps them on one node."""
    keys = Keys("0")
    names = [*(keys.fixed(name) for name in FIXED), keys.job("j"), keys.log("j"), keys.index("o", 1)]
    assert {tuple(re.findall(r"\{(.*?)\}", name)) for name in names} == {("0",)}
    with pytest.raises(KeyError):
        keys.fixed("unheard-of")
