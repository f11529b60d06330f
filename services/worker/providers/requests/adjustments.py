"""Remembers the parameters that the servers of one provider refuse, by model; each is repaired within the attempt."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import structlog

from services.worker.providers import ProviderError
from services.worker.providers.requests.drafts import Draft, Fix
from services.worker.providers.requests.repairs import find_fixes

REPAIRS_MAX: Final = 4
"""Most repairs in one attempt: servers name refused parameters one by one, and a request has no more of them."""

MODELS_MAX: Final = 256
FIXES_MAX: Final = 8
"""Most fixes of one model: one for each parameter."""

_OF_THE_REQUEST: Final = frozenset({400, 422})
_REPAIRABLE: Final = frozenset({"RequestRejected", "RequestTooLarge", "ModelNotFound"})
"""Statuses that may be about a parameter: a 413 about the token limit, "not supported by this model" about any."""

_log: Final = structlog.get_logger(__name__)


class Adjustments:
    """Fixes by model, for one provider of one process. A fix is learned when the request that had it was answered."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._learned: OrderedDict[str, list[Fix]] = OrderedDict()

    def prepare(self, model: str, draft: Draft) -> None:
        """Change a request as the server wanted others before it."""
        if (fixes := self._learned.get(model)) is not None:
            self._learned.move_to_end(model)
            for fix in fixes:
                draft.apply(fix)

    def repaired(self, draft: Draft, refusal: ProviderError, status: int, body: object) -> bool:
        """Change a request that was refused; False when there is nothing to change, or enough was tried."""
        if status not in _OF_THE_REQUEST or refusal.error.type not in _REPAIRABLE:
            return False
        if draft.repairs >= REPAIRS_MAX or not (fixes := find_fixes(body, draft)):
            return False
        draft.repairs += 1
        for fix in fixes:
            draft.apply(fix)
        return True

    def answered(self, model: str, draft: Draft) -> None:
        """Remember the fixes of this request, which the server took."""
        known = self._learned.get(model, [])
        new = [fix for fix in draft.applied if fix.lasting and fix not in known]
        if not new:
            return
        self._learned[model] = [*known, *new][-FIXES_MAX:]
        self._learned.move_to_end(model)
        while len(self._learned) > MODELS_MAX:
            self._learned.popitem(last=False)
        _log.info(
            "request_adjusted", provider=self._provider, model=model, ignored=draft.ignored, adjusted=draft.adjusted
        )

    def forget(self) -> None:
        """Forget all fixes: the server may be another now."""
        self._learned.clear()
