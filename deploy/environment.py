"""The environment that `make run` gives each service: its own settings, and no secret of another service."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from services.worker.settings import WorkerSettings
from shared.setting_values import read

PROVIDER_SECRET: Final = re.compile(
    r"(?:(?:\w+_)?API_KEY|PROVIDER_\w+_KEY|PROVIDER_PROXY|ATTRIBUTION_SECRET)(?:_FILE)?"
)
"""Names whose values buy something at a provider, or name end users to it. The worker alone calls one."""


ONE_EACH: Final = ("METRICS_HOST", "METRICS_PORT")


def of_service(name: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of one service. The gateway has no key, so it gets the `provider:model` names.

    METRICS_PORT is left out: two services of one machine cannot share it. SettingsInvalid when the worker's settings
    are wrong.
    """
    if name == "worker":
        return dict(environment)
    own = {
        key: value for key, value in environment.items() if not PROVIDER_SECRET.fullmatch(key) and key not in ONE_EACH
    }
    if not environment.get("PROVIDERS", "").strip():
        own["PROVIDERS"] = ",".join(read(environment, WorkerSettings, servers=()).chain)
    return own
