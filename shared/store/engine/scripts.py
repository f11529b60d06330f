"""Loads the Lua sources, checks their headers and calls them by argument name.

A script's header declares what it takes; the loader binds those names to KEYS and ARGV, so no script counts positions:

    -- KEYS high wake         fixed keys of `keys.py`
    -- PREFIX job log         beginnings of keys, bound as job_prefix, log_prefix
    -- ARGV consumer limit    one value per call
    -- ITEM job token         one group of values per item of the batch; bounds: ITEM_FIRST, ITEM_WIDTH
    -- RETURNS ...            prose
    -- INCLUDE batch lease    fragments of include/ that it uses

A fragment names those it uses in the same way (`linking`). KEYS, PREFIX and ARGV of a fragment are added to those of
each script that uses it: values that are the same in every call, so that no caller need know them.

In a script `redis` is a table with `call` and `pcall` that count.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import chain
from typing import Final

import msgspec
from redis.exceptions import NoScriptError, ResponseError

from shared.store.connection.connector import error_code
from shared.store.connection.multiplexer import Observer, Reply, Transport
from shared.store.engine import linking, signature_check
from shared.store.engine.items import Item, Value
from shared.store.engine.signatures import RunScript
from shared.store.keys import GROUP, Keys

_COUNTING: Final = """\
local server, sent = redis, 0
local redis = {
  call = function(...) sent = sent + 1 return server.call(...) end,
  pcall = function(...) sent = sent + 1 return server.pcall(...) end,
}"""
_COUNTED: Final = (
    "end\nlocal reply = run()\nif type(reply) == 'table' and reply.err then return reply end\nreturn {sent, reply}"
)
"""Code around every script: hosted Redis bills each command inside, so each call returns how many it sent. Counting
there is exact on every path; a model of the costs would have to follow each change of a script."""

_HEADER: Final = re.compile(r"^-- (KEYS|PREFIX|ARGV|ITEM|INCLUDE) (.+)$", re.MULTILINE)


class Script(msgspec.Struct, frozen=True):
    """One script ready to be sent: its text with fragments, and the names of its arguments."""

    name: str
    source: str
    sha: str
    keys: tuple[str, ...]
    prefixes: tuple[str, ...]
    argv: tuple[str, ...]
    item: tuple[str, ...]
    fragments: tuple[str, ...]


def _folder() -> Traversable:
    return resources.files("shared.store") / "lua"


def _header(text: str) -> dict[str, tuple[str, ...]]:
    return {kind: tuple(names.split()) for kind, names in _HEADER.findall(text)}


def _all_of(kind: str, headers: Iterable[Mapping[str, tuple[str, ...]]]) -> tuple[str, ...]:
    """The names of a kind in all of these headers, each once."""
    return tuple(dict.fromkeys(name for header in headers for name in header.get(kind, ())))


def _fragments(user: str, text: str, found: dict[str, str], open_ones: tuple[str, ...] = ()) -> None:
    """Add the texts of the fragments that `user` names, and of those that they name, to `found`: each once, after the
    ones it uses. ValueError for one that does not exist, or that uses itself."""
    for name in _header(text).get("INCLUDE", ()):
        if name in open_ones:
            raise ValueError(f"{name}.lua includes itself by way of {user}.lua")
        if name in found:
            continue
        path = _folder() / "include" / f"{name}.lua"
        if not path.is_file():
            raise ValueError(f"{user}.lua includes {name}, which does not exist")
        fragment = path.read_text(encoding="utf-8")
        _fragments(name, fragment, found, (*open_ones, name))
        found[name] = fragment


def _bind(names: Iterable[str], source: str, first: int) -> str:
    bound = [(name, f"{source}[{i}]") for i, name in enumerate(names, first)]
    return f"local {', '.join(n for n, _ in bound)} = {', '.join(v for _, v in bound)}" if bound else ""


@cache
def load(name: str) -> Script:
    """Read one script of `lua/`, once in a process. ValueError when its header lacks RETURNS or its fragments cannot be
    put in an order."""
    text = (_folder() / f"{name}.lua").read_text(encoding="utf-8")
    header = _header(text)
    if "-- RETURNS " not in text:
        raise ValueError(f"{name}.lua does not say what it RETURNS")
    fragments: dict[str, str] = {}
    _fragments(name, text, fragments)
    headers = [header, *map(_header, fragments.values())]
    item = header.get("ITEM", ())
    keys, prefixes, argv = (_all_of(kind, headers) for kind in ("KEYS", "PREFIX", "ARGV"))
    first = len(prefixes) + len(argv) + 1

    parts = [
        _bind(keys, "KEYS", 1),
        _bind(argv, "ARGV", len(prefixes) + 1),
        f"local GROUP, ITEM_FIRST, ITEM_WIDTH = '{GROUP}', {first}, {len(item)}",
        # Arguments are bound outside: a function of Lua reads those of an outer one faster. But it reads 60 of them at
        # most: the beginnings of keys are bound where they are used.
        "local function run()",
    ]
    texts = {**fragments, linking.SCRIPT: text}
    includes = {user: _header(one).get("INCLUDE", ()) for user, one in texts.items()}
    makers, body = linking.linked(texts, includes, prefixes)
    source = "\n".join([_COUNTING, *parts, *makers, linking.bound_prefixes(prefixes, text), body, _COUNTED])
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return Script(name, source, sha, keys, prefixes, argv, item, tuple(fragments))


@cache
def names() -> tuple[str, ...]:
    """Names of all scripts."""
    return tuple(path.name.removesuffix(".lua") for path in _folder().iterdir() if path.name.endswith(".lua"))


def typed(
    call: Callable[[str, Sequence[Item], Mapping[str, Value]], Awaitable[Reply]],
) -> Callable[..., Awaitable[Reply]]:
    """`call` in the form of `RunScript` and `RunAdminScript`, which know what each script takes."""

    def run(script: str, items: Sequence[Item] = (), **argv: Value) -> Awaitable[Reply]:
        return call(script, items, argv)

    return run


class Scripts:
    """Calls scripts over a transport. Survives SCRIPT FLUSH, a new server and a lost consumer group, and, since all of
    them are read at the start, a release that is replaced on disk while it runs."""

    def __init__(
        self, transport: Transport, keys: Keys, constants: Mapping[str, Value], observer: Observer | None = None
    ) -> None:
        self._transport = transport
        self._keys = keys
        self._constants = constants
        self._observer = observer
        self.run: RunScript = typed(self.call)
        self._loaded = {name: self._addressed(load(name)) for name in names()}

    def _addressed(self, script: Script) -> tuple[Script, tuple[Value, ...]]:
        signature_check.check(script.name, script.argv, script.item)
        keys = [self._keys.fixed(key) for key in script.keys]
        prefixes = [self._keys.prefix(prefix) for prefix in script.prefixes]
        return script, (script.sha, len(keys), *keys, *prefixes)

    async def call(self, script: str, items: Sequence[Item], argv: Mapping[str, Value]) -> Reply:
        """`run` without the types. What `argv` lacks of the header comes from the constants. ResponseError when the
        whole script was refused."""
        loaded, start = self._loaded[script]
        values = [argv[name] if name in argv else self._constants[name] for name in loaded.argv]
        command = ("EVALSHA", *start, *values, *chain.from_iterable(map(msgspec.structs.astuple, items)))
        for _ in range(3):
            try:
                return await self._send(loaded, command)
            except NoScriptError:
                self._observe("script_load", 1)
                await self._transport.execute("SCRIPT", "LOAD", loaded.source)
            except ResponseError as error:
                if error_code(error) != "NOGROUP" and "no such key" not in str(error):
                    raise
                await self.create_groups()
        return await self._send(loaded, command)

    async def _send(self, script: Script, command: tuple[Value, ...]) -> Reply:
        inside = 0
        try:
            inside, *replies = await self._transport.execute(*command)
            return replies[0] if replies else None
        finally:
            # A call that was refused as a whole, or never answered, counts as one command.
            self._observe(script.name, 1 + inside)

    def _observe(self, verb: str, commands: int) -> None:
        if self._observer is not None:
            self._observer(verb, commands)

    async def create_groups(self) -> None:
        """Make the consumer group of every stream, from the first entry on; an existing one stays as it is."""

        async def create(stream: str) -> None:
            self._observe("xgroup", 1)
            try:
                await self._transport.execute("XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM")
            except ResponseError as error:
                if error_code(error) != "BUSYGROUP":
                    raise

        await asyncio.gather(*(create(stream) for stream in self._keys.streams))
