"""Conversations in the form of each API. Pure.

The platform's instructions come first, then the job's own. Chat templates take one system message at most, so these two
are one.
"""

from __future__ import annotations

from services.worker.providers import GenerationRequest
from services.worker.providers.requests.structured import form
from shared.conversation import Role, cut

Sent = list[dict[str, str]]


def chat(request: GenerationRequest, system: str, *, has_developers: bool) -> Sent:
    """Messages of chat completions. `system`: the platform's instructions; `has_developers`: whether the server knows
    the role `developer`, which is `system` elsewhere."""
    instructions = _join(system, form(request), request.instructions)
    sent = [{"role": "system", "content": instructions}] if instructions else []
    for message in cut(request.prompt, request.turns):
        role = Role.SYSTEM if message.role is Role.DEVELOPER and not has_developers else message.role
        sent.append({"role": str(role), "content": message.content})
    return sent


def anthropic(request: GenerationRequest, system: str) -> tuple[str, Sent]:
    """The system prompt and the messages of Anthropic's API, which has no system messages among the others."""
    messages = cut(request.prompt, request.turns)
    instructions = [message.content for message in messages if message.role.instructs]
    spoken = [message for message in messages if not message.role.instructs]
    sent = [{"role": str(message.role), "content": message.content} for message in spoken]
    return _join(system, form(request), request.instructions, *instructions), sent


def last_said(request: GenerationRequest) -> str:
    """The last message of the user; empty when there is none."""
    said = (message for message in reversed(cut(request.prompt, request.turns)) if message.role is Role.USER)
    return next((message.content for message in said), "")


def _join(*instructions: str | None) -> str:
    return "\n".join(text for text in instructions if text)
