"""Notes the days on which keys are used: once a key and day, beside the requests."""

from __future__ import annotations

import asyncio

from shared.errors import PressworkError
from shared.store.api_keys import ApiKey, ApiKeys
from shared.telemetry.causes import FailureLog


class KeyUse:
    """Of one process. A day that could not be written is tried again with the next use."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys
        self._day = ""
        self._noted: set[str] = set()
        self._writing: set[asyncio.Task[None]] = set()
        self._failures = FailureLog("key_use_failed")

    async def aclose(self) -> None:
        """Cancel the write that is under way."""
        for task in self._writing:
            task.cancel()
        await asyncio.gather(*self._writing, return_exceptions=True)

    def used(self, key: ApiKey, day: str) -> None:
        """Write down, soon, that a key was used on this day, unless it is known to be written."""
        if day != self._day:
            self._day, self._noted = day, set()
        if key.used_on == day or key.id in self._noted:
            return
        self._noted.add(key.id)
        task = asyncio.create_task(self._write(key.id, day), name="key-use")
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, key_id: str, day: str) -> None:
        try:
            await self._keys.note_use(key_id, day)
        except PressworkError:
            self._noted.discard(key_id)
        except Exception as error:
            self._failures.failed(error)
