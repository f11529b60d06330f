"""Which providers this worker has, and which gates they stand behind: built from settings alone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from services.worker.prompting import brief
from services.worker.providers import Access, Provider
from services.worker.providers.demo import DemoProvider
from services.worker.settings import WorkerSettings
from shared.chain import split
from shared.errors import SettingsInvalid
from shared.job import Usage
from shared.store.routing import GateLimits, Routing

_PRINTABLE: Final = re.compile(r"[!-~]+")
PRICED_TOKENS: Final = 10_000
"""Enough for a price per token that is no whole nano-USD, too few for the price of a long context."""


def _check(name: str, settings: WorkerSettings) -> None:
    """SettingsInvalid for what would otherwise fail every call, each time as if the provider were to blame."""
    key, url, upper = settings.keys[name], settings.base_urls[name], name.upper()
    if not key and not url:
        raise SettingsInvalid(f"{upper}_API_KEY is not set, and PROVIDERS names {name}")
    if key and not _PRINTABLE.fullmatch(key):
        raise SettingsInvalid(f"{upper}_API_KEY is not a key: it has a blank, a line end or an accent in it")
    if url and not _is_web(url):
        raise SettingsInvalid(f"{upper}_BASE_URL is not an http(s) URL")
    if name == "anthropic" and url.rstrip("/").endswith("/v1"):
        raise SettingsInvalid("ANTHROPIC_BASE_URL must end before /v1: the API's paths begin with it")
    if settings.provider_proxy and not _is_web(settings.provider_proxy):
        raise SettingsInvalid("PROVIDER_PROXY is not an http(s) URL")


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and parts.scheme in ("http", "https") and _PRINTABLE.fullmatch(url) is not None


def _vendor(name: str, settings: WorkerSettings) -> Provider:
    """A provider's SDK is imported only where it is used: it costs a second and 50 MB."""
    access = Access(
        api_key=settings.keys[name], base_url=settings.base_urls[name] or None, priced=settings.priced[name],
        proxy=settings.provider_proxy or None, think_tags=settings.tags,
    )  # fmt: skip
    if name == "openai":
        from services.worker.providers.openai import OpenAIProvider  # noqa: PLC0415

        return OpenAIProvider(access, brief)
    from services.worker.providers.anthropic import AnthropicProvider  # noqa: PLC0415

    return AnthropicProvider(access, brief)


def equip(settings: WorkerSettings, more: Mapping[str, Provider]) -> dict[str, Provider]:
    """The providers of the chain by name, and `more`. SettingsInvalid for one that is not known or cannot work."""
    known: dict[str, Provider] = {
        "demo": DemoProvider(
            first_token_ms=settings.demo_first_token_ms,
            tokens_per_second=settings.demo_tokens_per_second,
            failure_rate=settings.demo_failure_rate,
        ),
        **more,
    }
    keys, _ = settings.keys, settings.tags
    for name in dict.fromkeys(split(gate)[0] for gate in settings.chain):
        if name in known:
            continue
        if name not in keys:
            raise SettingsInvalid(f"PROVIDERS names {name}, which this worker does not have")
        _check(name, settings)
        known[name] = _vendor(name, settings)
    return known


def routing(settings: WorkerSettings, providers: Mapping[str, Provider]) -> Routing:
    """The fleet's chain, and the limits of what stands behind a gate. SettingsInvalid for a limit of nothing."""
    limits = settings.limits
    if unknown := [gate for gate in limits if gate not in settings.chain]:
        raise SettingsInvalid(f"PROVIDER_LIMITS names {unknown[0]}, which is not among PROVIDERS")
    gated = []
    for gate in settings.chain:
        if gate in limits or providers[split(gate)[0]].gated:
            requests, tokens = limits.get(gate, (0, 0))
            gated.append(GateLimits(gate=gate, requests_per_minute=requests, tokens_per_minute=tokens))
    prices = {gate: price for gate in settings.chain if (price := _price(gate, providers)) is not None}
    return Routing(chain=settings.chain, limits=tuple(gated), failures=settings.gate_failures, prices=prices)


def _price(gate: str, providers: Mapping[str, Provider]) -> tuple[float, float] | None:
    """Nano-USD per input and output token; None when it is not known."""
    name, model = split(gate)
    used = providers[name].cost(model, Usage(input_tokens=PRICED_TOKENS, output_tokens=0))
    made = providers[name].cost(model, Usage(input_tokens=0, output_tokens=PRICED_TOKENS))
    return None if used is None or made is None else (used / PRICED_TOKENS, made / PRICED_TOKENS)


@asynccontextmanager
async def closing(providers: Mapping[str, Provider]) -> AsyncIterator[None]:
    """Close all of them at the end of the block."""
    try:
        yield
    finally:
        for provider in providers.values():
            await provider.aclose()
