"""Finds a server's base URL in an operator's address: with or without `/v1`, the path of a call, or a query. Pure."""

from __future__ import annotations

import re
from typing import Final, Literal, get_args
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

import msgspec

Dialect = Literal["openai", "anthropic"]
DIALECTS: Final[tuple[Dialect, ...]] = get_args(Dialect)
"""The APIs that are spoken; each has its adapter in `registry.py`."""

_PRINTABLE: Final = re.compile(r"[!-~]+")
_CALLS: Final[dict[Dialect, str]] = {"openai": "/chat/completions", "anthropic": "/v1/messages"}
"""Paths that the SDKs add to a base URL."""

_OTHER_CALLS: Final = re.compile(r"/(responses|completions|embeddings|messages|v1/complete)\Z")
_AZURE: Final = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com", ".azure-api.net")

_ROOTS: Final = {
    "api.groq.com": "/openai/v1", "generativelanguage.googleapis.com": "/v1beta/openai", "openrouter.ai": "/api/v1",
    "api.fireworks.ai": "/inference/v1", "api.perplexity.ai": "", "models.github.ai": "/inference",
}  # fmt: skip
"""Path of the API at hosts that were given alone, where it is not below `/v1`."""


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """`base_url`: as the SDK of its dialect takes it. `query`: to be sent with each call, such as Azure's
    `api-version`. `azure`: the key goes into a header of its own."""

    base_url: str
    query: dict[str, str] = {}
    azure: bool = False


def read_address(url: str, dialect: Dialect) -> Address:
    """The address that was meant. ValueError names the fault, and never quotes the address."""
    parts = _split(url)
    if "@" in parts.netloc:
        raise ValueError("holds a user or a password: remove it and set the key in its own setting")
    if parts.fragment:
        raise ValueError("has a fragment (#), which is never sent: remove it")

    host = (parts.hostname or "").lower()
    path = re.sub(r"/{2,}", "/", parts.path).rstrip("/")
    if path.endswith(_CALLS[dialect]):
        path = path.removesuffix(_CALLS[dialect])
    elif (other := _OTHER_CALLS.search(path)) is not None:
        raise ValueError(f"ends in {other.group()}, which is another call: end it before `{_CALLS[dialect]}`")
    elif dialect == "anthropic":
        path = path.removesuffix("/v1")
    elif not path:
        # Where a server speaks at its root, the whole path of the call says so.
        path = "/openai/v1" if host.endswith(_AZURE[:3]) else _ROOTS.get(host, "/v1")

    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Address(
        base_url=urlunsplit((parts.scheme, parts.netloc, path, "", "")),
        query=query,
        azure=host.endswith(_AZURE) or "api-version" in query,
    )


def _split(url: str) -> SplitResult:
    """The parts of a web address. ValueError for any other text."""
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
    if not named or parts.scheme not in ("http", "https") or _PRINTABLE.fullmatch(url) is None:
        raise ValueError("is not an http(s) URL")
    return parts


def is_web(url: str) -> bool:
    """Whether it is an http(s) address."""
    try:
        _split(url)
    except ValueError:
        return False
    return True
