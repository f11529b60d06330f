"""Prices that the operator gives in a file (PRICES): for models in no vendor's list, and instead of its prices.

A mapping, in JSON or TOML, from `provider:model` to `input`, `output` and, where it differs from `input`, `cached`:
USD per million tokens. `groq:*` and `openrouter:meta-llama/*` match every name that begins so; the most exact one
counts.
"""

from __future__ import annotations

import json
import stat
import tomllib
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Annotated, Final

import msgspec

from shared.errors import SettingsInvalid
from shared.job import Usage

FILE_MAX: Final = 1 << 20
"""Most bytes of a file: some ten thousand prices."""

_NANO_PER_TOKEN: Final = 1_000
"""Nano-USD a token in a USD per million tokens."""

Rate = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens. `cached`: of input that was read from the prompt cache; None: like any other input."""

    input: Rate
    output: Rate
    cached: Rate | None = None

    def nano_usd(self, usage: Usage) -> int:
        """The cost of these tokens, half a nano-USD rounded up."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        rates = (
            (self.input, usage.input_tokens - cached),
            (self.input if self.cached is None else self.cached, cached),
            (self.output, usage.output_tokens),
        )
        whole = sum((Decimal(str(rate)) * tokens for rate, tokens in rates), Decimal(0)) * _NANO_PER_TOKEN
        return int(whole.to_integral_value(rounding=ROUND_HALF_UP))


class OwnPrices:
    """The prices of the file as it was last read; all providers of a process share one."""

    def __init__(self, prices: Mapping[str, Price] | None = None) -> None:
        self.replace(prices or {})

    def replace(self, prices: Mapping[str, Price]) -> None:
        """Use these prices from now on, and no others."""
        self._exact = {name: price for name, price in prices.items() if not name.endswith("*")}
        beginnings = [(name[:-1], price) for name, price in prices.items() if name.endswith("*")]
        self._beginnings = sorted(beginnings, key=lambda pair: -len(pair[0]))

    def cost(self, gate: str, usage: Usage) -> int | None:
        """See `PriceBook`."""
        price = self._exact.get(gate)
        if price is None:
            price = next((price for name, price in self._beginnings if gate.startswith(name)), None)
        return None if price is None else price.nano_usd(usage)


def read_prices(path: str) -> dict[str, Price]:
    """The prices in a file; none without one. SettingsInvalid with one line that names the fault and its place."""
    if not path:
        return {}
    try:
        return _prices(_parsed(_content(path)))
    except ValueError as error:
        raise SettingsInvalid(f"PRICES: {error}") from None


def _content(path: str) -> str:
    try:
        file = Path(path).expanduser()
        if not stat.S_ISREG(file.stat().st_mode):
            raise ValueError("is not a file")
        with file.open("rb") as opened:
            content = opened.read(FILE_MAX + 1)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"the file cannot be read ({getattr(error, 'strerror', None) or 'no such folder'})") from None
    if len(content) > FILE_MAX:
        raise ValueError(f"the file is larger than {FILE_MAX >> 20} MiB")
    return content.decode("utf-8-sig")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a name that is there twice, as TOML does; JSON would take the last, and one of two prices is a slip."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for place, (name, _) in enumerate(pairs) if name in dict(pairs[:place]))
        raise ValueError(f"{twice[:100]!r} is there twice: remove one")
    return found


def _parsed(content: str) -> dict[str, object]:
    if not content.strip():
        raise ValueError("the file is empty (`{}` is no price at all): it may be half written")

    try:
        if content.lstrip().startswith("{"):
            parsed = msgspec.json.decode(content, type=dict[str, object])
            json.loads(content, object_pairs_hook=_once)
            return parsed
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"is neither JSON nor TOML: {error}") from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"is not a JSON object: {str(error) or 'nested too deep'}") from None


def _prices(named: Mapping[str, object]) -> dict[str, Price]:
    found = {}
    for name, given in named.items():
        shown = repr(name[:100])
        provider, colon, model = name.partition(":")
        if not (provider and colon and model) or "*" in name[:-1] or not name.isprintable() or " " in name:
            raise ValueError(f"{shown} is not a `provider:model`, nor the beginning of one and a `*`, such as `groq:*`")
        try:
            found[name] = msgspec.convert(given, Price)
        except msgspec.ValidationError as error:
            what, _, where = str(error).partition(" - at `$.")
            raise ValueError(f"{shown}{' ' * bool(where)}{where.rstrip('`')}: {what[:1].lower()}{what[1:]}") from None
    return found
