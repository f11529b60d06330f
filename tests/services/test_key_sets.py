"""Key sets of identity providers: keys that change, and sets that are not there."""

from __future__ import annotations

import asyncio
import json
from functools import partial

import pytest

from shared.errors import IdentityUnavailable
from shared.identity import jwks
from shared.identity.jwks import KeySet, VerificationKey
from tests.support.identity_provider import (
    EC,
    RSA,
    described,
)  # fmt: skip


async def test_a_new_key_is_found_and_an_old_one_forgotten() -> None:
    """An unknown id makes the set be fetched, at most once in 10 s; after 10 minutes it is fetched beside a request."""
    now, served = 1000.0, [described("a", RSA)]
    fetched: list[float] = []

    def fetch(_: str) -> bytes:
        fetched.append(now)
        return json.dumps({"keys": served}).encode()

    keys = KeySet("https://id.example.com/", fetched=fetch, clock=lambda: now)
    assert isinstance(await keys.find("a"), VerificationKey)
    served[:] = [described("b", EC)]
    assert await keys.find("b") is None
    now += jwks.UNKNOWN_S
    assert await keys.find("b") is not None
    assert await keys.find("a") is None
    assert len(fetched) == 2
    served[:] = []
    now += jwks.FRESH_S
    assert await keys.find("b") is not None
    async with asyncio.timeout(5):
        while await keys.find("b") is not None:
            await asyncio.sleep(0.01)
    await keys.aclose()


def _say(document: bytes, _: str) -> bytes:
    return document


async def test_without_any_set_nothing_is_judged() -> None:
    """A provider that answers nonsense leaves no set: the caller is asked to come back."""
    for nonsense in (b"", b"[]", b"{}", b'{"keys": 5}', b"x" * 100):
        keys = KeySet("https://id.example.com/", fetched=partial(_say, nonsense))
        with pytest.raises(IdentityUnavailable):
            await keys.find("a")
