"""Prices: right, offline, unknown rather than wrong."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from services.worker.providers import Access, BilledUsage
from services.worker.providers.pricing.price_file import OwnPrices, read_prices
from services.worker.providers.pricing.prices import cost_nano_usd, load_prices, price_list
from shared.chain import DEFAULT_MODELS
from shared.errors import SettingsInvalid
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
    """Counts that do not add up are cut to the tokens that were sent: a wrong part must not make the whole unknown."""
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
    """The default models have prices."""
    for provider, model in DEFAULT_MODELS.items():
        assert cost_nano_usd(provider, model, Usage(input_tokens=MILLION, output_tokens=MILLION))


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prices come out of the package."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    load_prices()
    assert cost_nano_usd("openai", "gpt-4o-mini", Usage(input_tokens=1, output_tokens=1)) == 750


@pytest.mark.parametrize(
    ("content", "priced"),
    [
        ('{"groq:a": {"input": 1, "output": 2}}', {"groq:a": 5_000_000, "groq:b": None}),
        ('\ufeff["groq:a"]\ninput = 0.05\noutput = 0\n', {"groq:a": 150_000}),
        ('["groq:*"]\ninput=1\noutput=0\n["groq:meta/*"]\ninput=2\noutput=0\n["groq:meta/a:free"]\ninput=0\noutput=0',
         {"groq:x": 3_000_000, "groq:meta/b": 6_000_000, "groq:meta/a:free": 0, "other:x": None}),
        ('{"groq:a": {"input": 1, "output": 0, "cached": 0.1}}', {"groq:a": 1_200_000}),
        ("# none", {"groq:a": None}),
    ],
)  # fmt: skip
def test_own_prices(tmp_path: Path, content: str, priced: dict[str, int | None]) -> None:
    """JSON or TOML, USD per million tokens; a `*` matches any rest, and the most exact name counts."""
    file = tmp_path / "prices"
    file.write_text(content)
    prices = OwnPrices(read_prices(str(file)))
    usage = Usage(input_tokens=3_000, output_tokens=1_000, cached_tokens=2_000)
    assert {gate: prices.cost(gate, usage) for gate in priced} == priced


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not a JSON object"),
        ('[["a"]]', "neither JSON nor TOML|is not a"),
        ("[groq", "neither JSON nor TOML"),
        ('{"groq": {"input": 1, "output": 1}}', "'groq' is not a `provider:model`"),
        ('{"groq:a*b": {"input": 1, "output": 1}}', "is not a `provider:model`"),
        ('{"groq:a": 1}', "'groq:a': expected `object`"),
        ('{"groq:a": {"input": 1}}', "missing required field `output`"),
        ('{"groq:a": {"input": -1, "output": 1}}', "'groq:a' input: expected `float` >= 0"),
        ('{"groq:a": {"input": "1", "output": 1}}', "'groq:a' input: expected `float`"),
        ('{"groq:a": {"input": true, "output": 1}}', "'groq:a' input: expected `float`"),
        ('{"groq:a": {"input": 1, "output": 1, "cache": 1}}', "unknown field `cache`"),
        ('["groq:a"]\ninput = nan\noutput = 1', "'groq:a' input"),
        ('{"a":' * 20_000, "not a JSON object"),
        ('{"groq:a": {"input": 1, "output": 1}, "groq:a": {"input": 2, "output": 2}}', "'groq:a' is there twice"),
        ('{"groq:a": {"input": 1, "input": 2, "output": 1}}', "'input' is there twice"),
        ("\n", "empty"),
        ("#" * (1 << 20) + "#", "larger than 1 MiB"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, content: str, complaint: str) -> None:
    """The line names the fault and its place."""
    file = tmp_path / "prices"
    file.write_text(content)
    with pytest.raises(SettingsInvalid, match=complaint) as raised:
        read_prices(str(file))
    assert str(raised.value).startswith("PRICES: ")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """Nothing there, a folder, bytes that are no text: one line each, and no waiting."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "nothing", Path("/dev/zero"), tmp_path / "bytes"):
        with pytest.raises(SettingsInvalid, match="PRICES: "):
            read_prices(str(path))


@pytest.mark.parametrize(
    ("url", "priced", "expected"),
    [
        ("https://api.groq.com/openai/v1", None, "groq"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", None, "google"),
        ("https://openrouter.ai/api/v1", None, "openrouter"),
        ("https://api.openai.com/v1", None, "openai"),
        ("https://api.openai.com/v1", False, None),
        ("https://x.openai.azure.com/openai/v1", None, None),
        ("http://127.0.0.1:8000/v1", None, None),
        ("http://vllm:8000/v1", None, None),
        ("http://127.0.0.1:8000/v1", True, "groq"),
        ("http://127.0.0.1:8000/v1", "mistral", "mistral"),
    ],
)
def test_whose_list_holds(url: str, priced: bool | str | None, expected: str | None) -> None:
    """That of the vendor whose address it is, unless the settings say otherwise."""
    assert price_list(Access(api_key="k", name="groq", priced=priced), url, "openai") == expected
