"""Keys of callers, made over HTTP by an operator."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httpx

from shared.http.auth import Scope, hash_token

KEYS: Final = "/api/admin/keys"
OPERATOR: Final = "operators-token"
TOKENS: Final = hash_token(OPERATOR)
"""API_TOKENS with one operator."""


def bearer(token: str) -> dict[str, str]:
    """The header of a caller."""
    return {"Authorization": f"Bearer {token}"}


async def make_key(client: httpx.AsyncClient, organization: str, *scopes: str, **more: Any) -> dict[str, Any]:
    """A new key of an organisation, as the call answers it; without scopes one that may do all but administer."""
    wanted = list(scopes) or [str(scope) for scope in Scope if scope is not Scope.ADMIN]
    content = {"organizationId": organization, "scopes": wanted, **more}
    async with asyncio.timeout(20):
        while (answer := await client.post(KEYS, json=content, headers=bearer(OPERATOR))).status_code == 503:
            await asyncio.sleep(0.05)  # a busy machine may need a moment for the first call
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made
