"""A request before it is sent, and its changes when a part of it is refused. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from services.worker.providers import GenerationRequest
from services.worker.providers.model_facts import THINKING_TOKENS, Model
from shared.job import Effort

Sent = dict[str, Any]
"""The arguments of a call, as an SDK takes them."""

LIMITS: Final = ("max_tokens", "max_completion_tokens")
"""The names of the token limit: the newer one is OpenAI's own."""

LABELS: Final = {"max_completion_tokens": "max_tokens", "reasoning_effort": "effort", "output_config": "effort"}
"""Names of parameters in `metadata`, where those in requests differ."""


UNTOLD: Final = frozenset({"safety_identifier", "metadata"})
"""Parameters that no job asked for: `metadata` of a result tells nothing of them."""


class Fix(msgspec.Struct, frozen=True):
    """One change of a request. `lasting`: it holds for every request to this model, not for this one's values alone."""

    how: Literal["drop", "rename", "limit", "cap", "merge", "effort", "thinking"]
    parameter: str
    value: str | int = ""
    lasting: bool = True


class Draft:
    """A request as it will be sent, and the changes to it, as `metadata` names them.

    `limit_required`: the API wants a limit of tokens.
    """

    def __init__(
        self,
        sent: Sent,
        ignored: Sequence[str] = (),
        adjusted: Sequence[str] = (),
        *,
        limit_required: bool = False,
    ) -> None:
        self.sent = sent
        self.limit_required = limit_required
        self.ignored = list(ignored)
        self.adjusted = list(adjusted)
        self.applied: list[Fix] = []
        self.repairs = 0

    def apply(self, fix: Fix) -> None:
        """Change the request; a fix for an absent parameter changes nothing."""
        if _apply(self.sent, fix) and fix.parameter not in UNTOLD:
            changed = self.ignored if fix.how == "drop" else self.adjusted
            if (label := LABELS.get(fix.parameter, fix.parameter)) not in changed:
                changed.append(label)
        self.applied.append(fix)

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
    efforts = {"reasoning_effort", "output_config"} & sent.keys()
    found = ["temperature"] if request.temperature is not None and "temperature" not in sent else []
    return [*found, "effort"] if request.effort is not None and not efforts else found


def cut(request: GenerationRequest, model: Model) -> list[str]:
    """Parameters of a job above the maximum of its model, as `metadata` names them."""
    asked, most = request.max_tokens, model.max_output
    return ["max_tokens"] if asked is not None and most is not None and asked > most else []


def _apply(sent: Sent, fix: Fix) -> bool:
    limit = next((name for name in LIMITS if name in sent), None)
    if fix.how == "drop":
        return sent.pop(fix.parameter, None) is not None
    if fix.how == "rename" and limit not in (None, fix.value):
        sent[str(fix.value)] = sent.pop(str(limit))
    elif fix.how in ("limit", "cap") and limit is not None and (fix.how == "limit" or sent[limit] > fix.value):
        sent[limit] = fix.value
    elif fix.how == "merge":
        return _merge(sent)
    elif fix.how == "effort" and fix.parameter in sent:
        _think(sent, fix)
    elif fix.how == "thinking" and "thinking" in sent:
        _retype(sent, str(fix.value), limit)
    else:
        return False
    return True


def _merge(sent: Sent) -> bool:
    """Put the instructions before the prompt, into the user's message."""
    *before, user = sent["messages"]
    instructions = [message["content"] for message in before]
    if "system" in sent:
        instructions.append(sent.pop("system"))
    if not instructions:
        return False
    sent["messages"] = [{"role": "user", "content": "\n\n".join([*instructions, user["content"]])}]
    return True


def _think(sent: Sent, fix: Fix) -> None:
    if fix.parameter == "output_config":
        sent["output_config"] = {"effort": fix.value}
        return
    was, sent["reasoning_effort"] = sent["reasoning_effort"], fix.value
    limit = next((name for name in LIMITS if name in sent), None)
    if was == "none" and limit is not None:
        sent[limit] += THINKING_TOKENS[Effort.LOW]


def _retype(sent: Sent, kind: str, limit: str | None) -> None:
    """Set another type of thinking; without one the model decides whether it thinks, with the least effort."""
    if kind:
        sent["thinking"] = {"type": kind}
        return
    del sent["thinking"]
    sent["output_config"] = {"effort": "low"}
    if limit is not None:
        sent[limit] += THINKING_TOKENS[Effort.LOW]
