"""Several servers in one chain, each with its own gate and price; prices and keys that change while the fleet runs."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from pathlib import Path

import pytest

from services.worker.providers.pricing.prices import cost_nano_usd
from shared.job import NANO, Usage
from tests.e2e.conftest import StackMaker
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour, Refusal
from tests.support.llm_dialects import CACHED_TOKENS, INPUT_TOKENS
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(300)

GROQ, ROUTER, CLAUDE = "groq:llama-3.3-70b", "open_router-2:meta-llama/llama-4:free", "house:claude-haiku-5-5"
RELOADED = ((INPUT_TOKENS - CACHED_TOKENS) * 10 + 10 * 20) / 1e6
_numbers = itertools.count()
KEYS = ("planted-groq-1", "planted-router", "planted-house", "planted-groq-2")


def _settings(llm: LlmServer, folder: Path) -> dict[str, str]:
    (folder / "groq-key").write_text(KEYS[0])
    (folder / "prices.json").write_text(json.dumps({GROQ: {"input": 1, "output": 2}, "open_router-2:*": _free()}))
    return {
        "PROVIDERS": f"{GROQ},{ROUTER},{CLAUDE}",
        "PROVIDER_GROQ_BASE_URL": llm.openai_url,
        "PROVIDER_GROQ_KEY_FILE": str(folder / "groq-key"),
        "PROVIDER_OPEN_ROUTER_2_BASE_URL": f"{llm.openai_url}/chat/completions",
        "PROVIDER_OPEN_ROUTER_2_KEY": KEYS[1],
        "PROVIDER_HOUSE_BASE_URL": llm.anthropic_url,
        "PROVIDER_HOUSE_KEY": KEYS[2],
        "PROVIDER_HOUSE_DIALECT": "anthropic",
        "PROVIDER_HOUSE_PRICED": "anthropic",
        "PROVIDER_LIMITS": f"{GROQ}=1000,{CLAUDE}=1000",
        "PRICES": str(folder / "prices.json"),
    }


def _free() -> dict[str, float]:
    return {"input": 0, "output": 0}


async def _cost(running: Stack, gate: str) -> float | None:
    """Cost of a job on this server, by its result."""
    provider, _, model = gate.partition(":")
    end = await running.end(await running.submit(next(_numbers), provider=provider, model=model))
    assert (end["status"], end["provider"], end["model"]) == ("completed", provider, model)
    cost: float | None = end.get("costUsd")
    return cost


async def _said(running: Stack, folder: Path, event: str, times: int) -> None:
    """Wait until the worker's log has an event so often."""
    async with asyncio.timeout(30):
        while _logs(folder).count(f'"event":"{event}"') < times:
            assert all(service.process.poll() is None for service in running.services)
            await asyncio.sleep(0.02)


def _hang_up(running: Stack) -> None:
    for service in running.services:
        service.signal(signal.SIGHUP)


def _logs(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("*.log"))


async def _priced_by_their_own_lists(running: Stack, llm: LlmServer) -> None:
    assert await _cost(running, GROQ) == pytest.approx((INPUT_TOKENS * 1 + 10 * 2) / 1e6)
    assert await _cost(running, ROUTER) == 0
    usage = Usage(input_tokens=INPUT_TOKENS, output_tokens=10, cached_tokens=CACHED_TOKENS)
    assert await _cost(running, CLAUDE) == (cost_nano_usd("anthropic", "claude-haiku-5-5", usage) or 0) / NANO
    called = [(call.model, (call.headers or {})["authorization"]) for call in await llm.calls()]
    models = [gate.partition(":")[2] for gate in (GROQ, ROUTER, CLAUDE)]
    assert called == [(model, f"Bearer {key}") for model, key in zip(models, KEYS, strict=False)]


async def _reloaded(running: Stack, llm: LlmServer, folder: Path) -> None:
    (folder / "prices.json").write_text(f'["{GROQ}"]\ninput = 10\noutput = 20\ncached = 0\n')
    (folder / "groq-key").write_text(KEYS[3])
    await llm.behave(Behaviour(tokens=10, gap_s=0.05, keep_bodies=True))
    under_way = await running.submit(next(_numbers))
    await running.until_processing(1)
    _hang_up(running)
    await _said(running, folder, "settings_reloaded", 1)
    end = await running.end(under_way)
    assert (end["status"], end["attempt"]) == ("completed", 1)
    assert await _cost(running, GROQ) == pytest.approx(RELOADED)
    assert await _cost(running, ROUTER) is None
    assert f"Bearer {KEYS[3]}" in [(call.headers or {})["authorization"] for call in await llm.calls()]


async def _adjusted(running: Stack, llm: LlmServer) -> None:
    body = {"detail": [{"loc": ["body", "stream_options"]}]}
    await llm.behave(Behaviour(tokens=10, refuses=[Refusal(parameter="stream_options", status=422, body=body)]))
    provider, _, model = GROQ.partition(":")
    for _ in range(2):
        end = await running.end(await running.submit(next(_numbers), provider=provider, model=model))
        assert end["metadata"]["ignored"] == ["stream_options"]
        assert (end["status"], end["attempt"]) == ("completed", 1)
    labels = f'model="{model}",outcome="adjusted",provider="{provider}"'
    assert await running.metric(running.workers[0], f"presswork_provider_requests_total{{{labels}}}") == 1


async def test_servers_of_one_dialect_side_by_side(stack: StackMaker, llm: LlmServer, tmp_path: Path) -> None:
    """Each is called with its own key and priced by its own price; after SIGHUP, which ends no service, new prices and
    keys count; a file that is wrong changes nothing; a parameter that one refuses is named in the result, and counted
    once; no key is in any log."""
    await llm.behave(Behaviour(tokens=10, keep_bodies=True))
    async with stack(**_settings(llm, tmp_path)) as running:
        await _priced_by_their_own_lists(running, llm)
        await _reloaded(running, llm, tmp_path)

        (tmp_path / "prices.json").write_text(f'["{GROQ}"]\ninput = "much"\n')
        _hang_up(running)
        await _said(running, tmp_path, "reload_refused", 1)
        assert await _cost(running, GROQ) == pytest.approx(RELOADED)

        await _adjusted(running, llm)
    logs = _logs(tmp_path)
    assert "PRICES: 'groq:llama-3.3-70b' input: expected `float`" in logs
    assert not [key for key in KEYS if key in logs]
