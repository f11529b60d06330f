"""Streams for Vercel's AI SDK, read and checked."""

from __future__ import annotations

import json
from typing import Any

FIELDS = {
    "start": {"messageId", "messageMetadata"},
    "start-step": set(),
    "text-start": {"id"},
    "text-delta": {"id", "delta"},
    "text-end": {"id", "providerMetadata"},
    "finish-step": set(),
    "finish": {"messageMetadata"},
    "error": {"errorText"},
    "abort": set(),
}
"""Fields that the SDK's own schema allows, which takes no others: those of them that we use."""


def parts_of(text: str) -> list[dict[str, Any]]:
    """The parts of a whole stream, checked."""
    *blocks, done, nothing = text.split("\n\n")
    assert (done, nothing) == ("data: [DONE]", "")
    parts = [json.loads(block.removeprefix("data: ")) for block in blocks if block != ":"]
    for part in parts:
        assert set(part) - {"type"} <= FIELDS[part["type"]], part
    return parts


def kinds(parts: list[dict[str, Any]]) -> list[str]:
    """Their types."""
    return [part["type"] for part in parts]


def shown(parts: list[dict[str, Any]]) -> str:
    """The text that a reader sees who hides superseded parts."""
    hidden = {part["id"] for part in parts if part["type"] == "text-end" and "providerMetadata" in part}
    return "".join(part["delta"] for part in parts if part["type"] == "text-delta" and part["id"] not in hidden)
