"""A request before it is sent, and its changes when a part of it is refused. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from services.worker.providers import GenerationRequest
from services.worker.providers.model_facts import THINKING_TOKENS, Model
from shared.job import Effort

Sent = dict[str, Any]
"""The arguments of a call, as an SDK takes them."""

LIMITS: Final = ("max_tokens", "max_completion_tokens")
"""The names of the token limit: the newer one is OpenAI's own."""

LABELS: Final = {
    "max_completion_tokens": "max_tokens",
    "reasoning_effort": "effort",
    "output_config": "effort",
    "response_format": "response_schema",
}
"""Names of parameters in `metadata`, where those in requests differ."""


INSTRUCTING: Final = ("system", "developer")
"""Roles of messages that instruct the model how to answer: not every server knows them."""

UNREPORTED: Final = frozenset({"safety_identifier", "metadata"})
"""Parameters that no job asked for: `metadata` of a result does not show them."""


class Fix(msgspec.Struct, frozen=True):
    """One change of a request. `lasting`: it holds for every request to this model, not for this one's values alone."""

    how: Literal["drop", "rename", "limit", "cap", "merge", "effort", "thinking", "words"]
    parameter: str
    value: str | int = ""
    lasting: bool = True


class Draft:
    """A request as it will be sent, and the changes to it, as `metadata` names them.

    `limit_required`: the API wants a limit of tokens. `in_words`: the schema of its answer as a text for the model,
    used where its server takes none.
    """

    def __init__(
        self,
        sent: Sent,
        ignored: Sequence[str] = (),
        adjusted: Sequence[str] = (),
        *,
        limit_required: bool = False,
        in_words: str = "",
    ) -> None:
        self.sent = sent
        self.limit_required = limit_required
        self._in_words = in_words
        self.ignored = list(ignored)
        self.adjusted = list(adjusted)
        self.applied: list[Fix] = []
        self.repairs = 0

    def apply(self, fix: Fix) -> None:
        """Change the request; a fix for an absent parameter changes nothing."""
        if _CHANGES[fix.how](self.sent, fix) and fix.parameter not in UNREPORTED:
            changed = self.ignored if fix.how in ("drop", "words") else self.adjusted
            if (label := LABELS.get(fix.parameter, fix.parameter)) not in changed:
                changed.append(label)
            if fix.how == "words":
                self.write_schema()
        self.applied.append(fix)

    def write_schema(self) -> None:
        """Write the schema for the model in words, once, at the end of the user's last message."""
        messages = self.sent["messages"]
        last = max((i for i, message in enumerate(messages) if message["role"] == "user"), default=None)
        if last is not None and self._in_words:
            asked = {**messages[last], "content": f"{messages[last]['content']}\n\n{self._in_words}"}
            self._in_words = ""
            self.sent["messages"] = [*messages[:last], asked, *messages[last + 1 :]]

    @property
    def settled(self) -> set[str]:
        """Parameters that were changed already. A limit under its other name may still be refused."""
        return {LABELS.get(fix.parameter, fix.parameter) for fix in self.applied if fix.how != "rename"}

    @property
    def metadata(self) -> dict[str, object] | None:
        """Changes for the result: `ignored` was left out, `adjusted` was sent in another form; None: no change."""
        changes: dict[str, object] = {}
        if self.ignored:
            changes["ignored"] = self.ignored
        if self.adjusted:
            changes["adjusted"] = self.adjusted
        return changes or None


def left_out(request: GenerationRequest, sent: Sent) -> list[str]:
    """Parameters of a job that its model does not take, as `metadata` names them."""
    efforts = "reasoning_effort" in sent or "effort" in sent.get("output_config", {})
    found = ["temperature"] if request.temperature is not None and "temperature" not in sent else []
    return [*found, "effort"] if request.effort is not None and not efforts else found


def cut(request: GenerationRequest, model: Model) -> list[str]:
    """Parameters of a job above the maximum of its model, as `metadata` names them."""
    asked, most = request.max_tokens, model.max_output
    return ["max_tokens"] if asked is not None and most is not None and asked > most else []


# Each kind of fix changes a request, and returns whether the fix applied.


def _drop(sent: Sent, fix: Fix) -> bool:
    if fix.parameter == "output_config":
        return _drop_output(sent, "effort")
    return sent.pop(fix.parameter, None) is not None


def _drop_output(sent: Sent, name: str) -> bool:
    """Drop one part of the output's configuration, and all of it with the last one."""
    kept = dict(sent.get("output_config", {}))
    dropped = kept.pop(name, None) is not None
    if kept:
        sent["output_config"] = kept
    else:
        sent.pop("output_config", None)
    return dropped


def _use_words(sent: Sent, _: Fix) -> bool:
    """Send no schema beside the messages."""
    return sent.pop("response_format", None) is not None or _drop_output(sent, "format")


def _limit_in(sent: Sent) -> str | None:
    """The name of its token limit, if it has one."""
    return next((name for name in LIMITS if name in sent), None)


def _rename(sent: Sent, fix: Fix) -> bool:
    limit = _limit_in(sent)
    if limit is None or limit == fix.value:
        return False
    sent[str(fix.value)] = sent.pop(limit)
    return True


def _limit(sent: Sent, fix: Fix) -> bool:
    limit = _limit_in(sent)
    if limit is None or (fix.how == "cap" and sent[limit] <= fix.value):
        return False
    sent[limit] = fix.value
    return True


def _merge(sent: Sent, _: Fix) -> bool:
    """Put the instructions into the first message of the user, before its own text."""
    instructions = [sent.pop("system")] if "system" in sent else []
    instructions += [message["content"] for message in sent["messages"] if message["role"] in INSTRUCTING]
    if not instructions:
        return False

    spoken = [message for message in sent["messages"] if message["role"] not in INSTRUCTING]
    first = next((i for i, message in enumerate(spoken) if message["role"] == "user"), 0)
    said = [spoken[first]["content"]] if spoken else []
    spoken[first : first + 1] = [{"role": "user", "content": "\n\n".join([*instructions, *said])}]
    sent["messages"] = spoken
    return True


def _think(sent: Sent, fix: Fix) -> bool:
    """Set another effort, with room for thoughts where there were to be none."""
    if fix.parameter not in sent:
        return False
    if fix.parameter == "output_config":
        sent["output_config"] = {**sent["output_config"], "effort": fix.value}
        return True
    was, sent["reasoning_effort"] = sent["reasoning_effort"], fix.value
    if was == "none":
        _make_room(sent)
    return True


def _retype(sent: Sent, fix: Fix) -> bool:
    """Set another type of thinking; without one the model decides whether it thinks, with the least effort."""
    if "thinking" not in sent:
        return False
    if fix.value:
        sent["thinking"] = {"type": fix.value}
        return True
    del sent["thinking"]
    sent["output_config"] = {**sent.get("output_config", {}), "effort": "low"}
    _make_room(sent)
    return True


def _make_room(sent: Sent) -> None:
    limit = _limit_in(sent)
    if limit is not None:
        sent[limit] += THINKING_TOKENS[Effort.LOW]


_CHANGES: Final[Mapping[str, Callable[[Sent, Fix], bool]]] = {
    "drop": _drop,
    "rename": _rename,
    "limit": _limit,
    "cap": _limit,
    "merge": _merge,
    "effort": _think,
    "thinking": _retype,
    "words": _use_words,
}
