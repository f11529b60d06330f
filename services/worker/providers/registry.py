"""Builds this worker's providers and the gates in front of them, from settings alone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from services.worker.prompting import brief
from services.worker.providers import Access, PriceBook, Provider, Remote
from services.worker.providers.demo import DemoProvider
from services.worker.providers.model_facts import THINKING_TOKENS, anthropic_model, openai_model
from services.worker.providers.pricing.prices import known_list
from services.worker.providers.requests.base_urls import is_web, read_address
from services.worker.providers.settings import VENDORS, ProviderSettings, Server, variable_of
from shared.chain import split
from shared.errors import SettingsInvalid
from shared.job import Effort, Usage
from shared.store.routing import OUTPUT_MOST, GateLimits, OutputBound, Routing

_PRINTABLE: Final = re.compile(r"[!-~]+")
_NAMED_TO: Final = {"vendors": None, "all": True, "off": False}
PRICED_TOKENS: Final = 10_000
"""Tokens that are priced to find the price of one: enough for fractions of a nano-USD, below long-context rates."""


def check(server: Server) -> None:
    """Raise SettingsInvalid for a setting that would fail every call as if the provider were to blame."""
    if not server.key and not server.base_url:
        missing = "KEY" if server.name in VENDORS else "BASE_URL"
        raise SettingsInvalid(f"{server.setting(missing)} is not set, and PROVIDERS names {server.name}: set it")
    if server.key and not _PRINTABLE.fullmatch(server.key):
        raise SettingsInvalid(f"{server.setting('KEY')} is not a key: remove the blanks, line ends and accents in it")

    if server.base_url:
        try:
            read_address(server.base_url, server.dialect)
        except ValueError as error:
            raise SettingsInvalid(f"{server.setting('BASE_URL')} {error}") from None
    elif server.name not in VENDORS:
        raise SettingsInvalid(f"{server.setting('BASE_URL')} is not set, and PROVIDERS names {server.name}: set it")


def _access(server: Server, settings: ProviderSettings, prices: PriceBook | None) -> Access:
    priced = server.price_list
    if isinstance(priced, str) and (priced := known_list(priced)) is None:
        raise SettingsInvalid(f"{server.setting('PRICED')}: expected 1, 0 or the name of a price list, such as groq")
    return Access(
        name=server.name, api_key=server.key, base_url=server.base_url or None, priced=priced, prices=prices,
        proxy=settings.provider_proxy or None, think_tags=settings.tags,
        names_end_users=_NAMED_TO[settings.attribution],
    )  # fmt: skip


def _adapter(server: Server, access: Access) -> Remote:
    """Import a vendor's SDK only where it is used: it costs a second and 50 MB."""
    match server.dialect:
        case "openai":
            from services.worker.providers.openai import OpenAIProvider  # noqa: PLC0415

            return OpenAIProvider(access, brief)
        case "anthropic":
            from services.worker.providers.anthropic import AnthropicProvider  # noqa: PLC0415

            return AnthropicProvider(access, brief)


def build_providers(
    settings: ProviderSettings, more: Mapping[str, Provider], prices: PriceBook | None = None
) -> dict[str, Provider]:
    """The providers of the chain by name, and `more`. SettingsInvalid for one that is not known or cannot work.

    `prices`: the operator's own.
    """
    known: dict[str, Provider] = {
        "demo": DemoProvider(
            first_token_ms=settings.demo_first_token_ms,
            tokens_per_second=settings.demo_tokens_per_second,
            failure_rate=settings.demo_failure_rate,
            mismatches=settings.demo_mismatches,
        ),
        **more,
    }
    servers, proxy, _ = settings.known_servers, settings.provider_proxy, settings.tags

    for name in dict.fromkeys(split(gate)[0] for gate in settings.chain):
        if name in known:
            continue
        if name not in servers:
            raise SettingsInvalid(
                f"PROVIDERS names {name}, which this worker does not have: set PROVIDER_{variable_of(name)}_BASE_URL"
            )
        check(servers[name])
        if proxy and not is_web(proxy):
            raise SettingsInvalid("PROVIDER_PROXY is not an http(s) URL: give one like http://proxy:3128")
        known[name] = _adapter(servers[name], _access(servers[name], settings, prices))
    return known


def routing(settings: ProviderSettings, providers: Mapping[str, Provider]) -> Routing:
    """The fleet's chain, and the limits of its gates. SettingsInvalid for a limit whose model is not in PROVIDERS."""
    if unknown := [gate for gate in settings.limits if gate not in settings.chain]:
        raise SettingsInvalid(f"PROVIDER_LIMITS names {unknown[0]}, which is not in PROVIDERS: remove it")

    prices = {gate: price for gate in settings.chain if (price := _price(gate, providers)) is not None}
    unpriced = [gate for gate in settings.chain if gate not in prices and _is_unpriced(gate, settings)]
    return Routing(
        chain=settings.chain, limits=_gated(settings, providers), failures=settings.gate_failures, prices=prices,
        unpriced=tuple(unpriced), outputs={gate: _output_bound(gate, settings) for gate in settings.chain},
    )  # fmt: skip


def _gated(settings: ProviderSettings, providers: Mapping[str, Provider]) -> tuple[GateLimits, ...]:
    """Limits of the gates that calls are counted at: those with limits of our own, and those that providers limit."""
    limits, gated = settings.limits, list[GateLimits]()
    for gate in settings.chain:
        if gate in limits or providers[split(gate)[0]].gated:
            requests, tokens = limits.get(gate, (0, 0))
            gated.append(GateLimits(gate=gate, requests_per_minute=requests, tokens_per_minute=tokens))
    return tuple(gated)


def _is_unpriced(gate: str, settings: ProviderSettings) -> bool:
    """Whether the operator says that no price list holds for this gate: its calls count as free."""
    server = settings.known_servers.get(split(gate)[0])
    return server is not None and server.price_list is False


def _output_bound(gate: str, settings: ProviderSettings) -> OutputBound:
    """Most tokens that a gate's model writes."""
    name, model_name = split(gate)
    server = settings.known_servers.get(name)
    if server is None:
        return OutputBound()
    model = anthropic_model(model_name) if server.dialect == "anthropic" else openai_model(model_name)

    def thoughts(asked: Effort | None) -> int:
        effort = model.effort(asked)
        return 0 if effort is None else THINKING_TOKENS[effort]

    beside = thoughts(None), thoughts(Effort.LOW), thoughts(Effort.MEDIUM), thoughts(Effort.HIGH)
    return OutputBound(most=model.max_output or OUTPUT_MOST, thoughts=beside)


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
