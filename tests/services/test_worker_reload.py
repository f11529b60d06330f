"""Keys and prices are read again while a worker runs."""

from __future__ import annotations

import asyncio

import structlog

from services.worker.providers.pricing.price_file import OwnPrices
from services.worker.providers.registry import build_providers
from services.worker.reload import Reload
from services.worker.settings import read_worker
from shared.store.job_store import JobStore
from tests.support.worker import until


async def test_a_key_that_cannot_work_changes_nothing(store: JobStore) -> None:
    """One that was written half, or with its line end, is refused in one line; the next good one counts."""
    environment = {"PROVIDERS": "groq:m", "PROVIDER_GROQ_BASE_URL": "http://127.0.0.1:1", "PROVIDER_GROQ_KEY": "k1"}
    settings, prices = read_worker(environment), OwnPrices({})
    providers = build_providers(settings, {}, prices)
    reload = Reload(lambda: read_worker(environment))
    serving = asyncio.create_task(reload.serve(settings, providers, prices, store))
    try:
        with structlog.testing.capture_logs() as lines:
            for number, key in enumerate(("planted k2", "k2"), 1):
                environment["PROVIDER_GROQ_KEY"] = key
                reload.wanted.set()

                async def reloaded(wanted: int = number) -> bool:
                    return len(lines) == wanted

                await until(reloaded)
    finally:
        serving.cancel()
        for provider in providers.values():
            await provider.aclose()
    assert [line["event"] for line in lines] == ["reload_refused", "settings_reloaded"]
    assert lines[1]["keys"] == ["groq"]
    assert "planted" not in repr(lines)
