"""Checks of the form of REDIS_URL, whose messages repeat nothing of it: it may hold a password. Pure.

A character of a password that has a meaning in a URL ends the password there, and the rest is taken for a host, a
database or an option: redis-py then connects to another server, or to database 0, without an error.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

from shared.errors import SettingsInvalid

_ENCODED: Final = {"#": "%23", "/": "%2F", "?": "%3F", "%": "%25"}
_BARE_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")

USABLE: Final = frozenset(
    {
        "db", "username", "password", "ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_include_verify_flags",
        "ssl_exclude_verify_flags", "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_check_hostname", "ssl_password",
        "ssl_validate_ocsp", "ssl_validate_ocsp_stapled", "ssl_ocsp_context", "ssl_ocsp_expected_cert",
        "ssl_min_version", "ssl_ciphers", "socket_timeout", "socket_connect_timeout", "socket_read_size",
        "socket_keepalive", "retry_on_timeout", "max_connections", "health_check_interval", "client_name", "protocol",
    }
)  # fmt: skip
"""Options that Presswork uses, or sets itself whatever is said here."""

UNUSABLE: Final = frozenset(
    {
        "decode_responses", "encoding", "encoding_errors", "legacy_responses", "parser_class", "redis_connect_func",
        "retry_on_error", "retry", "credential_provider", "command_packer", "encoder_class", "lib_name", "lib_version",
        "driver_info", "socket_type", "socket_keepalive_options", "host", "port", "path", "timeout",
        "single_connection", "maint_notifications_config", "event_dispatcher", "cache_config",
    }
)  # fmt: skip
"""Other options of redis-py, by their names: they change behaviour on which the store is built."""


def check(url: str) -> None:
    """Raise SettingsInvalid with one line for a part that would be read as something else than was meant."""
    scheme, _, rest = url.partition("://")
    if "#" in rest:
        raise _unencoded("#")

    address, _, query = rest.partition("?")
    user, at, place = address.rpartition("@")
    if _BARE_PERCENT.search(user):
        raise _unencoded("%")

    served = not scheme.lower().startswith("unix")
    if served and "/" in user:
        raise _unencoded("/")

    _check_options(query, ends_user=served and not at)
    database = place.partition("/")[2]
    if scheme.lower() in ("redis", "rediss") and database and not database.rstrip("/").isdecimal():
        raise SettingsInvalid("REDIS_URL: the part after the host and its / is not a database number")


def _check_options(query: str, *, ends_user: bool) -> None:
    options = _options(query)
    names = {name for name, _ in options}
    if names <= USABLE and all(value.isdecimal() for name, value in options if name == "db"):
        return
    # The part of a password after a ? looks like options, up to the host.
    if ends_user and "@" in query:
        raise _unencoded("?")
    if found := sorted(names & UNUSABLE):
        raise SettingsInvalid(f"REDIS_URL: the option {found[0]} cannot be used here")
    if names <= USABLE:
        raise SettingsInvalid("REDIS_URL: its option db is not a database number")
    raise SettingsInvalid("REDIS_URL has an unknown option")


def _options(query: str) -> list[tuple[str, str]]:
    """Names and values; a nameless one for a text that is no query."""
    try:
        return parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        return [("", "")]


def _unencoded(character: str) -> SettingsInvalid:
    return SettingsInvalid(
        f"REDIS_URL has a {character} where none is allowed: in a user or a password it must be percent-encoded, as "
        f"{_ENCODED[character]}"
    )
