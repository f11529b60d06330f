"""Settings of providers: the two vendors by names of their own, any other server by PROVIDER_<NAME>_…"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal

import msgspec

from services.worker.providers import THINK_TAGS
from services.worker.providers.requests.base_urls import DIALECTS, Dialect
from shared.chain import fleet_chain, split
from shared.errors import SettingsInvalid
from shared.setting_values import entries, setting

VENDORS: Final = ("openai", "anthropic")
"""Providers whose settings have names of their own, such as OPENAI_API_KEY."""

RESERVED: Final = (*VENDORS, "demo")
"""Names with a meaning of their own, which no other server can have."""

TAGS_MAX: Final = 8
SECRET_MIN: Final = 32
_TAG: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_LIMIT: Final = re.compile(r"(\S+)=(\d{1,9})(?:/(\d{1,9}))?\Z")

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


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The providers that jobs run on.

    `providers`: `provider:model` entries separated by commas, in order of preference; empty: those whose keys are set,
    else the demo. `provider_limits`: `provider:model=requests/tokens` a minute, separated by commas, for the whole
    fleet. `gate_failures`: so many failures in a row block a provider's gate. `think_tags`: names of the tags around
    thoughts at the start of a text, separated by commas; empty: they are text. `openai_priced`, `anthropic_priced`:
    whether the vendor's price list holds at the base URL, or whose; by default that of the vendor whose address it is.
    `prices`: a file of prices, which come before any list. `servers`: those with settings of their own
    (`read_servers`). `provider_proxy`: URL of an HTTP proxy for all calls of providers; the environment's proxies are
    ignored. `attribution`: who gets an identifier of the end user: the vendors, all servers, or nobody;
    `attribution_secret`: the key of that identifier, one for the whole fleet; empty: one that is kept in Redis.
    """

    providers: str = ""
    provider_limits: str = ""
    gate_failures: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 5
    think_tags: str = ",".join(THINK_TAGS)
    provider_proxy: str = ""
    openai_api_key: str = ""
    openai_base_url: str = ""
    openai_priced: str = ""
    anthropic_api_key: str = ""
    anthropic_base_url: str = ""
    anthropic_priced: str = ""
    prices: str = ""
    attribution: Literal["vendors", "all", "off"] = "vendors"
    attribution_secret: str = ""
    servers: tuple[Server, ...] = ()
    demo_first_token_ms: Annotated[float, msgspec.Meta(ge=0)] = 200.0
    demo_tokens_per_second: Annotated[float, msgspec.Meta(ge=0)] = 80.0
    demo_failure_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    demo_mismatches: Annotated[int, msgspec.Meta(ge=0, le=2)] = 0

    def __post_init__(self) -> None:
        if 0 < len(self.attribution_secret) < SECRET_MIN:
            raise SettingsInvalid(f"ATTRIBUTION_SECRET: must have at least {SECRET_MIN} characters")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"  # there are keys in it

    @property
    def keys(self) -> dict[str, str]:
        """API keys of the vendors, empty where there is none."""
        return {"openai": self.openai_api_key, "anthropic": self.anthropic_api_key}

    @property
    def known_servers(self) -> dict[str, Server]:
        """Every server that may be called, by the name of its provider. One of one's own may need no key."""
        openai = Server(
            name="openai", dialect="openai", base_url=self.openai_base_url, key=self.openai_api_key,
            priced=self.openai_priced,
        )  # fmt: skip
        anthropic = Server(
            name="anthropic", dialect="anthropic", base_url=self.anthropic_base_url, key=self.anthropic_api_key,
            priced=self.anthropic_priced,
        )  # fmt: skip
        return {server.name: server for server in (openai, anthropic, *self.servers)}

    @property
    def chain(self) -> tuple[str, ...]:
        """The `provider:model` names jobs may run on, the default first. SettingsInvalid for a malformed entry."""
        return fleet_chain(self.providers, self.keys)

    @property
    def tags(self) -> tuple[str, ...]:
        """`think_tags` one by one, in lower case. SettingsInvalid for an entry that is no name of a tag."""
        found = tuple(dict.fromkeys(entry.lower() for entry in entries(self.think_tags)))
        if len(found) > TAGS_MAX or not all(_TAG.fullmatch(tag) for tag in found):
            raise SettingsInvalid(
                f"THINK_TAGS: at most {TAGS_MAX} names separated by commas, letters only: think,thinking"
            )
        return found

    @property
    def limits(self) -> dict[str, tuple[int, int]]:
        """Requests and tokens a minute (0: no limit) by `provider:model`. SettingsInvalid for a malformed entry."""
        found = {}
        for entry in entries(self.provider_limits):
            parsed = _LIMIT.match(entry)
            if parsed is None:
                raise SettingsInvalid("PROVIDER_LIMITS: every entry is `provider:model=requests/tokens`")
            found[parsed.group(1)] = (int(parsed.group(2)), int(parsed.group(3) or 0))
        return found


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
    if dialect not in DIALECTS:
        raise SettingsInvalid(f"PROVIDER_{variable_of(name)}_DIALECT: expected one of {', '.join(DIALECTS)}")

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
