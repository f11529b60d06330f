"""Address, key and names of a caller: from arguments, the environment, or a file that its owner alone can read."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from presswork_client.errors import ConfigError

DEFAULT_URL: Final = "http://127.0.0.1:8000"
"""The gateway that `make run` starts."""

DEFAULTS: Final = {"url": DEFAULT_URL, "key": "", "organization": "", "project": "default", "user": "api"}
VARIABLES: Final = {
    "url": "PRESSWORK_URL",
    "key": "PRESSWORK_API_KEY",
    "organization": "PRESSWORK_ORGANIZATION",
    "project": "PRESSWORK_PROJECT",
    "user": "PRESSWORK_USER",
}
NO_KEY_ORGANIZATION: Final = "default"
"""The organisation where no key says one: a service without keys lets its callers name organisations at will."""

_KEY: Final = re.compile(r"[!-~]+")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The caller. `organization` is empty where the key says it."""

    url: str
    key: str = field(repr=False)
    organization: str
    project: str
    user: str


def read_settings(given: Mapping[str, str | None], environment: Mapping[str, str] | None = None) -> Settings:
    """Settings by name: those `given`, else from the environment, else from the file, else the defaults. ConfigError.

    The file's key is for the file's address: it is not sent to another one.
    """
    found = _merged(given, os.environ if environment is None else environment)

    found["url"] = _sound_url(found["url"])
    if found["key"] and _KEY.fullmatch(found["key"]) is None:
        raise ConfigError("the key holds blanks or characters that no key has: set PRESSWORK_API_KEY again")
    if not found["key"] and not found["organization"]:
        found["organization"] = NO_KEY_ORGANIZATION
    return Settings(**found)


def _merged(given: Mapping[str, str | None], environment: Mapping[str, str]) -> dict[str, str]:
    of_environment = {name: environment.get(variable, "") for name, variable in VARIABLES.items()}
    named = {name: (given.get(name) or of_environment[name]).strip() for name in DEFAULTS}

    of_file = _read_file(config_path(environment))
    if named["url"] and named["url"].rstrip("/") != of_file.get("url", "").rstrip("/"):
        of_file.pop("key", None)
    return {name: named[name] or of_file.get(name, "") or default for name, default in DEFAULTS.items()}


def config_path(environment: Mapping[str, str]) -> Path:
    """Path of the file: PRESSWORK_CONFIG, else `presswork/config.toml` in the user's folder of configurations."""
    if named := environment.get("PRESSWORK_CONFIG"):
        return Path(named)
    folder = environment.get("XDG_CONFIG_HOME")
    home = environment.get("HOME") or environment.get("USERPROFILE") or "."
    return Path(folder or Path(home) / ".config") / "presswork" / "config.toml"


def _read_file(path: Path) -> dict[str, str]:
    """Settings of the file, {} when there is none. ConfigError for one that others can read, or that is no TOML."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None

    with file:
        if os.name == "posix" and os.fstat(file.fileno()).st_mode & _OTHERS:
            raise ConfigError(f"{path} can be read by others: run chmod 600 {path}")
        return _parsed(path, file.read())


def _parsed(path: Path, content: bytes) -> dict[str, str]:
    import tomllib  # noqa: PLC0415 - most callers have no file, and its import costs them time

    try:
        found: dict[str, Any] = tomllib.loads(content.decode())
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    for name, value in found.items():
        if name not in DEFAULTS or not isinstance(value, str):
            raise ConfigError(f"{path}: `{name}` is not a setting; the settings are texts: {', '.join(DEFAULTS)}")
    return found


def _sound_url(text: str) -> str:
    url = text.rstrip("/")
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment:
        raise ConfigError("the address is not an http(s) URL: set PRESSWORK_URL to one like https://api.example.com")
    if parts.username or parts.password:
        raise ConfigError("the address holds a password: take it out and set PRESSWORK_API_KEY")
    return url
