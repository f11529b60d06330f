"""Settings of the servers that this worker can call: the two vendors by their own, any others by PROVIDER_<NAME>_…"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from services.worker.providers.requests.base_urls import Dialect
from shared.chain import split
from shared.errors import SettingsInvalid
from shared.settings import setting

VENDORS: Final[tuple[Dialect, ...]] = ("openai", "anthropic")
RESERVED: Final = (*VENDORS, "demo")
"""Names with a meaning of their own, which no other server can have."""

_PARTS: Final = ("BASE_URL", "KEY", "DIALECT", "PRICED")
_VARIABLE: Final = re.compile(rf"PROVIDER_([A-Z0-9_]+)_({'|'.join(_PARTS)})(_FILE)?\Z")
_SLIPS: Final = ("API_KEY", "API_KEY_FILE")
"""Names of the vendors' own settings: never meant for another server, whose name ends in `_api`."""

_SWITCH: Final = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A server as its settings describe it, not yet checked. `priced`: a switch, or the name of a price list; empty: by
    its address."""

    name: str
    dialect: Dialect
    base_url: str = ""
    key: str = ""
    priced: str = ""

    def __repr__(self) -> str:
        return f"Server({self.name})"

    def setting(self, part: str) -> str:
        """The variable that holds a part of it: `BASE_URL`, `KEY`, `PRICED`."""
        if self.name in VENDORS:
            return f"{self.name.upper()}_{'API_KEY' if part == 'KEY' else part}"
        return f"PROVIDER_{variable_of(self.name)}_{part}"

    @property
    def price_list(self) -> bool | str | None:
        """As `Access.priced`: a switch, the name of a list, or None, so that its address decides."""
        return _SWITCH.get(self.priced.lower(), self.priced) if self.priced else None


def variable_of(name: str) -> str:
    """A provider's name as part of its settings' names: `MY_LLM` for `my-llm`."""
    return name.upper().replace("-", "_")


def read_servers(mapping: Mapping[str, str], chain: Iterable[str]) -> tuple[Server, ...]:
    """The servers of the chain that have settings of their own. SettingsInvalid for a setting of no server."""
    names = [name for name in dict.fromkeys(split(gate)[0] for gate in chain) if name not in RESERVED]
    variables: dict[str, str] = {}
    for name in names:
        if (other := variables.setdefault(variable_of(name), name)) != name:
            raise SettingsInvalid(f"PROVIDERS names {other} and {name}, whose settings have the same names: rename one")
    for given in mapping:
        _refuse_stray(given, variables)
    found = (_server(mapping, name) for name in names)
    return tuple(server for server in found if server is not None)


def _server(mapping: Mapping[str, str], name: str) -> Server | None:
    given = {part: setting(mapping, f"PROVIDER_{variable_of(name)}_{part}") for part in _PARTS}
    if not any(given.values()):
        return None
    dialect = (given["DIALECT"] or "openai").lower()
    if dialect not in VENDORS:
        raise SettingsInvalid(f"PROVIDER_{variable_of(name)}_DIALECT: expected one of {', '.join(VENDORS)}")
    return Server(
        name=name,
        dialect=msgspec.convert(dialect, Dialect),
        base_url=given["BASE_URL"] or "",
        key=given["KEY"] or "",
        priced=given["PRICED"] or "",
    )


def _refuse_stray(given: str, variables: Mapping[str, str]) -> None:
    """Refuse a setting of a server that is never called, or of no server: it is a slip of the pen."""
    parsed = _VARIABLE.match(given)
    if parsed is not None and parsed.group(1) in variables:
        return
    if parsed is not None and parsed.group(1).lower() in RESERVED:
        name = parsed.group(1).lower()
        upper = name.upper()
        own = f"has settings of its own: {upper}_API_KEY, {upper}_BASE_URL and {upper}_PRICED"
        raise SettingsInvalid(f"{given}: {name} {'calls no server, remove it' if name == 'demo' else own}")
    for variable in variables:
        rest = given.removeprefix(f"PROVIDER_{variable}_")
        if rest != given and (parsed is None or rest in _SLIPS):
            raise SettingsInvalid(f"{given} is no setting: after PROVIDER_{variable}_ write one of {', '.join(_PARTS)}")


def unused_servers(mapping: Mapping[str, str], chain: Iterable[str]) -> list[str]:
    """Names (as in their settings) of servers that are set and that no entry of the chain names."""
    used = {variable_of(split(gate)[0]) for gate in chain}
    given = (parsed.group(1) for name in mapping if (parsed := _VARIABLE.match(name)) and mapping[name].strip())
    return sorted({name for name in given if name not in used and name.lower() not in RESERVED})
