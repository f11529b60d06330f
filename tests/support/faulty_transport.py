"""A transport of the store that loses or delays answers."""

from __future__ import annotations

from typing import Any

from shared.errors import StoreUnavailable
from shared.store.job_store import JobStore


class FaultyTransport:
    """Stands before the store's socket. `lose(verb)`: the next call of that script takes effect, its answer is lost.
    `delay(verb)`: the next call is kept and runs only at `deliver`, after its caller got an error."""

    def __init__(self, store: JobStore) -> None:
        self._inner = store._calls.scripts._transport
        self._store = store
        self._lost: set[str] = set()
        self._held: set[str] = set()
        self._kept: list[tuple[Any, ...]] = []
        store._calls.scripts._transport = self

    def lose(self, verb: str) -> None:
        """Lose the answer of the next call of a script."""
        self._lost.add(verb)

    def delay(self, verb: str) -> None:
        """Keep the next call of a script back."""
        self._held.add(verb)

    async def deliver(self) -> list[Any]:
        """Run the kept calls, as a server does that wakes from a stall."""
        kept, self._kept = self._kept, []
        return [await self._inner.execute(*command) for command in kept]

    async def execute(self, *command: Any) -> Any:
        """See `Transport`."""
        verb = next(
            (name for name, (script, _) in self._store._calls.scripts._loaded.items() if script.sha == command[1]), ""
        )
        if verb in self._held:
            self._held.discard(verb)
            self._kept.append(command)
            raise StoreUnavailable("kept back", sent=True)
        reply = await self._inner.execute(*command)
        if verb in self._lost:
            self._lost.discard(verb)
            raise StoreUnavailable("the answer was lost", sent=True)
        return reply
