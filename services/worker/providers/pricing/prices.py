"""Prices calls: by the operator's own prices (`price_file.py`), else by the vendors' price lists as genai-prices
ships them. Offline: its updates stay off."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

from services.worker.providers import Access, BilledUsage
from services.worker.providers.requests.base_urls import Dialect
from shared.chain import DEFAULT_MODELS
from shared.job import NANO, Usage

_PUBLIC_NAME: Final = re.compile(r".*\.[a-z]{2,}\Z", re.IGNORECASE)
"""Public host names: addresses in numbers and names in a private network are in no price list."""


@cache
def _library() -> Any:
    # Imported here: a worker that runs the demo alone need not load it.
    import genai_prices  # noqa: PLC0415 - see the comment

    return genai_prices


def load_prices() -> None:
    """Read the price lists now: 0.5 s and 3 MB, better at the start than between two tokens."""
    cost_nano_usd("openai", DEFAULT_MODELS["openai"], Usage(input_tokens=0, output_tokens=0))


def known_list(name: str) -> str | None:
    """The price list of this name or alias (`gemini` is `google`), as genai-prices calls it; None: there is none."""
    try:
        found = _library().data_snapshot.get_snapshot().find_provider(None, name, None)
    except LookupError:
        return None
    return str(found.id)


def _list_at(url: str) -> str | None:
    """The list of the vendor at this address. None for Azure: its models have names that customers gave them."""
    if not _PUBLIC_NAME.match(urlsplit(url).hostname or ""):
        return None
    try:
        found = _library().data_snapshot.get_snapshot().find_provider(None, None, url)
    except LookupError:
        return None
    return None if found.id == "azure" else str(found.id)


def price_list(access: Access, base_url: str, dialect: Dialect) -> str | None:
    """Name of the price list that holds at this address; None: no list does. Reads the lists now: see `load_prices`."""
    if access.priced is False:
        return None
    if isinstance(access.priced, str):
        return access.priced
    found = _list_at(base_url)
    if access.priced and found is None:
        found = (known_list(access.name) if access.name else None) or dialect
    if found is not None:
        load_prices()
    return found


def cost_of(access: Access, dialect: Dialect, vendor: str | None, model: str, usage: Usage) -> int | None:
    """Cost of a call in nano-USD; None when no price is known. `vendor`: as `price_list` returned it."""
    own = access.prices.cost(f"{access.name or dialect}:{model}", usage) if access.prices is not None else None
    if own is not None or vendor is None:
        return own
    return cost_nano_usd(vendor, model.removeprefix("models/"), usage)


def _of_the_cache(usage: Usage) -> dict[str, int]:
    """Input tokens read from the prompt cache or written to it. Counts that do not add up are cut."""
    cached = min(usage.cached_tokens, usage.input_tokens)
    if not isinstance(usage, BilledUsage) or not usage.cache_write_tokens:
        return {"cache_read_tokens": cached}
    written = min(usage.cache_write_tokens, usage.input_tokens - cached)
    return {
        "cache_read_tokens": cached,
        "cache_write_tokens": written,
        "cache_write_1h_tokens": min(usage.cache_write_1h_tokens, written),
    }


def cost_nano_usd(provider: str, model: str, usage: Usage) -> int | None:
    """The cost of these tokens in nano-USD (1e-9 USD), half a unit rounded up; None when no price is known.

    `provider` as genai-prices names it (`openai`, `groq`); dated model names count as their model. Tokens that
    were read from the prompt cache, or written to it (`BilledUsage`), cost the vendor's price for those. Prices
    change: this is the list of the installed version, on today's date.
    """
    library = _library()
    tokens = library.Usage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, **_of_the_cache(usage))
    try:
        price = library.calc_price(tokens, model_ref=model, provider_id=provider)
    except (LookupError, ValueError):
        return None
    # A model that is listed without a price (moderation, previews) would come out as free.
    if price.model_price is None or price.model_price.input_mtok is None or price.model_price.output_mtok is None:
        return None
    return int((price.total_price * NANO).to_integral_value(rounding=ROUND_HALF_UP))
