"""Calls whose answers our stand-in makes of pieces that no SDK would send."""

from __future__ import annotations

from typing import Any

from tests.support.adapters import Collected, collect, open_provider, request
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour
from tests.support.llm_bodies import choice, delta, event


async def call(llm: LlmServer, name: str, behaviour: Behaviour, **more: Any) -> Collected:
    """One call that the stand-in answers so."""
    await llm.behave(behaviour)
    url = {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]
    async with open_provider(name, url, **more) as provider:
        return await collect(provider, request(name))


def part(content: Any, finish: str | None = None, **more: Any) -> str:
    """A chunk whose content is of any kind."""
    return event({"choices": [{"delta": {"content": content}, "finish_reason": finish, **more}]})


def block(**content: Any) -> str:
    """The start of a block of a message."""
    return event({"type": "content_block_start", "index": 0, "content_block": content})


def half(escaped: str, name: str = "openai") -> str:
    """A piece of text that is this JSON escape."""
    return (choice("@") if name == "openai" else delta("@")).replace("@", escaped)
