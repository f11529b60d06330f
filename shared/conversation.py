"""Conversations as data: the messages that a job's prompt is made of. Pure.

A record keeps them as one text and the lengths of its parts: code that measures a prompt, and releases that know no
conversations, read the text as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

BREAK: Final = "\n\n"
"""Between two messages in the text of a prompt; part of neither."""


class Role(StrEnum):
    """Speakers of messages. A developer's message is a system message under its newer name."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"

    @property
    def instructs(self) -> bool:
        """Whether its messages are instructions for the model."""
        return self in (Role.SYSTEM, Role.DEVELOPER)


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation: text alone."""

    role: Role
    content: str


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """A message within the text of a prompt: `length` characters of it."""

    role: Role
    length: int


def join(messages: Sequence[Message]) -> tuple[str, list[Turn]]:
    """The text of a conversation, and its turns, from which `cut` makes the messages again."""
    text = BREAK.join(message.content for message in messages)
    return text, [Turn(message.role, len(message.content)) for message in messages]


def cut(prompt: str, turns: Sequence[Turn]) -> list[Message]:
    """The messages of a prompt; one of the user when it has no turns."""
    if not turns:
        return [Message(Role.USER, prompt)]

    messages, start = [], 0
    for turn in turns:
        messages.append(Message(turn.role, prompt[start : start + turn.length]))
        start += turn.length + len(BREAK)
    return messages
