"""Prices: right, offline, unknown rather than wrong."""

from __future__ import annotations

import socket

import pytest

from services.worker.providers import BilledUsage
from services.worker.providers.prices import cost_nano_usd, load_prices
from shared.chain import DEFAULT_MODELS
from shared.job import Usage

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("provider", "model", "usage", "usd"),
    [
        ("openai", "gpt-4o-mini", (1000, 500, 200), 0.000435),
        ("openai", "gpt-4o-mini-2024-07-18", (1000, 500, 200), 0.000435),
        ("anthropic", "claude-sonnet-4-5-20250929", (1000, 500, 200), 0.00996),
        ("openai", "gpt-6-luna", (MILLION // 10, 0, 0), 0.01),
        ("anthropic", "claude-haiku-5-5", (0, MILLION, 0), 0.5),
        ("anthropic", "claude-haiku-5-5", (1, 0, 0), 0.0000001),
        ("openai", "gpt-4o-mini", (100, 0, 900), 0.0000075),
    ],
)
def test_prices(provider: str, model: str, usage: tuple[int, int, int], usd: float) -> None:
    """Input, output and cached tokens at their own prices, dated names as their model, whole nano-USD."""
    tokens = Usage(input_tokens=usage[0], output_tokens=usage[1], cached_tokens=usage[2])
    assert cost_nano_usd(provider, model, tokens) == round(usd * 1e9)


def test_a_cache_that_took_more_than_there_was() -> None:
    """Counts that do not add up are cut to what was sent: a wrong part must not make the whole unknown."""
    usage = BilledUsage(
        input_tokens=1000, output_tokens=0, cached_tokens=900, cache_write_tokens=500, cache_write_1h_tokens=900
    )
    assert cost_nano_usd("anthropic", "claude-haiku-4-5", usage) == 900 * 100 + 100 * 2000


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "llama3.3"), ("openai", ""), ("anthropic", "gpt-4o"), ("nobody", "gpt-4o"), ("openai", "moderation")],
)
def test_an_unknown_price_is_none(provider: str, model: str) -> None:
    """Never zero: a model without a price is not free."""
    assert cost_nano_usd(provider, model, Usage(input_tokens=1000, output_tokens=1000)) is None


def test_the_default_models_have_prices() -> None:
    """What runs when the operator names no model is accounted for."""
    for provider, model in DEFAULT_MODELS.items():
        assert cost_nano_usd(provider, model, Usage(input_tokens=MILLION, output_tokens=MILLION))


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prices come out of the package."""

    def refuse(*_: object) -> None:
        raise AssertionError("somebody wanted the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    load_prices()
    assert cost_nano_usd("openai", "gpt-4o-mini", Usage(input_tokens=1, output_tokens=1)) == 750
