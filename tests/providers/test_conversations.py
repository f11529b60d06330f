"""Conversations and instructions on their way to a provider."""

from __future__ import annotations

from typing import Any

import pytest

from services.worker.providers.requests import dialects
from shared.conversation import Message, Role, cut, join
from tests.providers.test_requests import sent
from tests.support.adapters import BOTH, SYSTEM, collect, open_provider, request
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour, Refusal

TALK = [
    Message(Role.SYSTEM, "Be brief."),
    Message(Role.USER, "Name a fruit.\n\nOne."),
    Message(Role.ASSISTANT, "Quince 🍐"),
    Message(Role.DEVELOPER, "No fruit twice."),
    Message(Role.USER, "Another"),
]


def talk(**more: Any) -> dict[str, Any]:
    """The fields of a request for the next message of the conversation."""
    prompt, turns = join(TALK)
    return {"prompt": prompt, "turns": turns, **more}


def test_a_conversation_survives_its_way_through_a_record() -> None:
    """Texts with the mark between messages in them, and characters of more than one byte, come back as they were."""
    prompt, turns = join(TALK)
    assert cut(prompt, turns) == TALK
    assert cut("a\n\nb", ()) == [Message(Role.USER, "a\n\nb")]


async def test_chat_completions_get_every_message_in_its_place(llm: LlmServer) -> None:
    """The platform's instructions and the job's own are one message, before all others; a compatible server knows no
    developers."""
    body = (await sent(llm, "openai", **talk(instructions="Sound warm."))).body
    assert body["messages"] == [
        {"role": "system", "content": f"{SYSTEM}\nSound warm."},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Name a fruit.\n\nOne."},
        {"role": "assistant", "content": "Quince 🍐"},
        {"role": "system", "content": "No fruit twice."},
        {"role": "user", "content": "Another"},
    ]


async def test_anthropic_gets_all_instructions_as_the_system_prompt(llm: LlmServer) -> None:
    """Those of system and developer messages too, in their order; the others are as they were."""
    body = (await sent(llm, "anthropic", **talk(instructions="Sound warm."))).body
    assert body["system"] == f"{SYSTEM}\nSound warm.\nBe brief.\nNo fruit twice."
    assert body["messages"] == [
        {"role": "user", "content": "Name a fruit.\n\nOne."},
        {"role": "assistant", "content": "Quince 🍐"},
        {"role": "user", "content": "Another"},
    ]


def test_openai_itself_knows_developers() -> None:
    """Its own API gets the role as it was sent."""
    roles = [message["role"] for message in dialects.chat(request("openai", **talk()), "", has_developers=True)]
    assert roles == ["system", "user", "assistant", "developer", "user"]


@pytest.mark.parametrize("name", BOTH)
async def test_a_server_without_system_messages_gets_them_in_the_users_first(llm: LlmServer, name: str) -> None:
    """The repair of a refused role keeps the conversation."""
    refusal = {"error": {"message": "System role not supported"}}
    refuses = [Refusal(parameter="system", status=400, body=refusal)]
    await llm.behave(Behaviour(keep_bodies=True, refuses=refuses))
    url = {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]
    async with open_provider(name, base_url=url) as provider:
        await collect(provider, request(name, **talk()))
    messages = (await llm.calls())[-1].body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[0]["content"] == f"{SYSTEM}\n\nBe brief.\n\nNo fruit twice.\n\nName a fruit.\n\nOne." or (
        name == "anthropic"
        and messages[0]["content"] == f"{SYSTEM}\nBe brief.\nNo fruit twice.\n\nName a fruit.\n\nOne."
    )
    assert messages[2]["content"] == "Another"
