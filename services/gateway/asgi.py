"""`services.gateway.asgi:app`: the gateway for servers that import an ASGI application, Vercel's among them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from litestar.types import ASGIApp

from services.gateway.app import open_app
from services.gateway.settings import GatewaySettings
from shared.http.lazy_app import ANYWHERE, EntryPoint
from shared.setting_values import read
from shared.telemetry import logs

STREAM_SECONDS: Final = "50"
"""Longest event stream, and longest wait for a response, in s: below the 60 s of such a function (`maxDuration` in
deploy/vercel/gateway/vercel.json). The browser reconnects and goes on where it was."""


@asynccontextmanager
async def open_gateway(mapping: Mapping[str, str] = os.environ) -> AsyncIterator[ASGIApp]:
    """The application, built from the environment. SettingsInvalid when something is set wrong."""
    logs.configure("gateway")  # as the settings say once they are read
    mapping = {"NOTIFIER_STREAM_SECONDS": STREAM_SECONDS, "FOREGROUND_SECONDS": STREAM_SECONDS, **mapping}
    settings = read(mapping, GatewaySettings, gateway_host=ANYWHERE)
    logs.configure("gateway", settings.log_level)
    async with open_app(settings, mapping, asyncio.Event()) as opened:
        yield opened


app = EntryPoint(open_gateway)
