"""What a call cost, by the vendors' price lists as genai-prices ships them. Offline: its updates stay off."""

from __future__ import annotations

from decimal import ROUND_HALF_UP
from functools import cache
from typing import Any

from services.worker.providers import BilledUsage
from shared.chain import DEFAULT_MODELS
from shared.job import NANO, Usage


@cache
def _library() -> Any:
    # Here and not above: a worker that runs the demo alone does not pay for it.
    import genai_prices  # noqa: PLC0415 - see the comment

    return genai_prices


def load_prices() -> None:
    """Read the price lists now: 0.5 s and 3 MB, better at the start than between two tokens."""
    cost_nano_usd("openai", DEFAULT_MODELS["openai"], Usage(input_tokens=0, output_tokens=0))


def _of_the_cache(usage: Usage) -> dict[str, int]:
    """Input tokens that the prompt cache had or got. What does not add up is cut: it would have no price at all."""
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

    `provider` as genai-prices names it (`openai`, `anthropic`); dated model names count as their model. Tokens that
    were read from the prompt cache, or written to it (`BilledUsage`), cost what the vendor takes for those. Prices
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
