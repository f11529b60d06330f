"""The input of a request for a response: a text, or items of a conversation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from services.gateway.submit.schemas import MAX_MESSAGES
from shared.conversation import Role
from shared.http.problems import FieldError


class InputContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a message: text. Parts of an earlier answer may be sent back as they came."""

    type: Literal["input_text", "output_text", "text"]
    text: str
    annotations: Any = None
    logprobs: Any = None


class InputItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message, which has a role and content, also one of an earlier answer as it came; or a reference to such a one,
    which has its `id` alone."""

    type: Literal["message", "item_reference"] = "message"
    role: Role | None = None
    content: str | list[InputContent] | None = None
    id: str | None = None
    status: str | None = None
    phase: str | None = None

    @property
    def text(self) -> str:
        """The text of all its parts."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "".join(part.text for part in self.content)


Input = Annotated[str, Meta(min_length=1)] | Annotated[list[InputItem], Meta(min_length=1, max_length=MAX_MESSAGES)]


def items_of(given: str | list[InputItem]) -> list[InputItem]:
    """The items of an input; a text is a message of the user."""
    return [InputItem(role=Role.USER, content=given)] if isinstance(given, str) else given


_Names = tuple[str, ...]

_MESSAGE: Final[tuple[_Names, _Names]] = (("role", "content"), ())
_REFERENCE: Final[tuple[_Names, _Names]] = (("id",), ("role", "content", "status", "phase"))
"""Fields that an item of a type needs, and those that it may not have."""


def item_faults(items: Sequence[InputItem]) -> Iterator[FieldError]:
    """Faults of items that decoded."""
    for i, item in enumerate(items):
        needed, excluded = _MESSAGE if item.type == "message" else _REFERENCE
        for name in needed:
            if getattr(item, name) is None:
                yield FieldError(f"input[{i}].{name}", "required")
        for name in excluded:
            if getattr(item, name) is not None:
                yield FieldError(f"input[{i}].{name}", "only with the type message")
        if item.content is not None and not item.text:
            yield FieldError(f"input[{i}].content", "is empty")
