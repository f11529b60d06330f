"""`services.notifier.asgi:app`: the event streams for servers that import an ASGI application."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from litestar.types import ASGIApp

from services.notifier.app import open_app
from services.notifier.settings import NotifierSettings
from shared.http.lazy_app import ANYWHERE, EntryPoint
from shared.setting_values import read
from shared.settings import read_store
from shared.store.connection import select_transport
from shared.telemetry import logs


@asynccontextmanager
async def open_notifier(mapping: Mapping[str, str] = os.environ) -> AsyncIterator[ASGIApp]:
    """The application, built from the environment. SettingsInvalid when something is set wrong."""
    logs.configure("notifier")  # as the settings say once they are read
    settings = read(mapping, NotifierSettings, notifier_host=ANYWHERE)
    logs.configure("notifier", settings.log_level)
    store_settings = await select_transport.select(read_store(mapping), may_use_rest=False)
    async with open_app(settings, store_settings) as (opened, _):
        yield opened


app = EntryPoint(open_notifier)
