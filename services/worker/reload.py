"""Reads prices and keys again while the worker runs: a wrong one changes nothing, running calls go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from services.worker.providers import Provider, Remote
from services.worker.providers.pricing.price_file import OwnPrices, Price, read_prices
from services.worker.providers.registry import check, routing
from services.worker.settings import WorkerSettings
from shared.errors import SettingsInvalid
from shared.store.job_store import JobStore

_log: Final = structlog.get_logger(__name__)


class Reload:
    """`wanted` is set by a signal. `read`: the settings as they are now, files and all."""

    def __init__(self, read: Callable[[], WorkerSettings]) -> None:
        self._read = read
        self.wanted = asyncio.Event()

    async def serve(
        self, settings: WorkerSettings, providers: Mapping[str, Provider], prices: OwnPrices, store: JobStore
    ) -> None:
        """Reload whenever `wanted` is set, until cancelled. `settings` are those that the worker was built from."""
        keys = {name: server.key for name, server in settings.known_servers.items()}
        while True:
            await self.wanted.wait()
            self.wanted.clear()
            try:
                new, given = await asyncio.to_thread(self._read_all)
                changed = _rekey(new, providers, keys)
                prices.replace(given)
                store.maintenance.reprice(routing(settings, providers))
            except SettingsInvalid as error:
                _log.error("reload_refused", reason=str(error))
            except Exception as error:
                # Its text may hold a key.
                _log.error("reload_failed", exception=type(error).__name__)
            else:
                _log.info("settings_reloaded", prices=len(given), keys=changed)

    def _read_all(self) -> tuple[WorkerSettings, dict[str, Price]]:
        """Read and check all of it before any of it counts."""
        new = self._read()
        for server in new.known_servers.values():
            if server.key or server.base_url:
                check(server)
        return new, read_prices(new.prices)


def _rekey(new: WorkerSettings, providers: Mapping[str, Provider], keys: dict[str, str]) -> list[str]:
    """Distribute the keys that changed; returns their providers. A missing key stays as it was: its file may be
    late."""
    changed = []
    for name, server in new.known_servers.items():
        provider = providers.get(name)
        if server.key and server.key != keys.get(name) and isinstance(provider, Remote):
            provider.rekey(server.key)
            keys[name] = server.key
            changed.append(name)
    return changed
