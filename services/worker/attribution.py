"""Attribution: a vendor learns which end user a call is for, as a keyed hash that it cannot turn back into an id."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable


class Attribution:
    """Of one worker. All workers of a fleet share the secret, so an end user has one identifier for as long as it is
    kept."""

    def __init__(self, secret: str, *, load: Callable[[], Awaitable[str]] | None) -> None:
        """`secret`: of the settings, else `load` reads the fleet's own; None: no identifier is wanted."""
        self._key = secret.encode()
        self._load = None if secret else load

    async def prepare(self) -> None:
        """Have a secret, from before the first job on. StoreUnavailable: to be called again."""
        if self._load is not None:
            self._key = (await self._load()).encode()
            self._load = None

    def end_user(self, organization_id: str, user_id: str) -> str | None:
        """64 hexadecimal digits, as long as OpenAI takes; None where no identifier is wanted."""
        if not self._key:
            return None
        # Neither id holds a line end.
        return hmac.new(self._key, f"{organization_id}\n{user_id}".encode(), hashlib.sha256).hexdigest()
