"""Tokens become identities; addresses and bad tokens are distinguished."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from shared.errors import SettingsInvalid
from shared.http.access import is_loopback
from shared.http.auth import ALL, ALL_BUT_ADMIN, Identity, Scope, hash_token
from shared.http.problems import Problem
from shared.identity import key_text
from shared.identity.authenticator import Authenticator
from shared.identity.client_address import UNKNOWN, ClientAddresses
from shared.identity.guesses import ADDRESSES_MAX, LIMIT, WINDOW_S, Guesses
from shared.identity.settings import IdentitySettings


def _authenticator(lines: str, host: str = "0.0.0.0", **settings: Any) -> Authenticator:  # noqa: S104 - nothing is bound
    return Authenticator(IdentitySettings(api_tokens=lines, **settings), host=host, registry=CollectorRegistry())


def _bearer(value: bytes | None = None) -> dict[str, Any]:
    headers = [(b"host", b"x")] + ([] if value is None else [(b"authorization", value)])
    return {"headers": headers, "client": ("192.0.2.1", 1234)}


async def test_a_token_is_whom_its_line_says() -> None:
    """A bound token is its organisation without the right to administer, an unbound one may do all; the scheme's case
    does not matter."""
    authenticator = _authenticator(f"{hash_token('a')} org-1\n{hash_token('b')}\n")
    assert authenticator.required
    bound = await authenticator.identify(_bearer(b"Bearer a"))
    assert (bound.organization_id, bound.scopes) == ("org-1", ALL_BUT_ADMIN)
    operator = await authenticator.identify(_bearer(b"bearer b"))
    assert (operator.organization_id, operator.scopes) == (None, ALL)


@pytest.mark.parametrize(
    "value",
    [None, b"", b"Bearer", b"Bearer ", b"Bearer c", b"Basic a", b"a", b"Bearer \xff", b"Bearer a b", b"Bearer pw_a"],
)
async def test_anything_else_is_401(value: bytes | None) -> None:
    """No token, a wrong one, another scheme or no header at all: 401 with a challenge."""
    authenticator = _authenticator(hash_token("a"))
    with pytest.raises(Problem) as caught:
        await authenticator.identify(_bearer(value))
    assert caught.value.kind.status == 401
    assert caught.value.headers == {"WWW-Authenticate": "Bearer"}


def test_an_identity_sees_its_own_organization_alone() -> None:
    """A bound identity may see one organisation, an unbound one any."""
    assert Identity("a").may_see("a")
    assert not Identity("a").may_see("b")
    assert Identity(None).may_see("b")


def test_a_missing_scope_is_named() -> None:
    """403 says which right a key lacks, in the document and as RFC 6750 wants it."""
    with pytest.raises(Problem) as caught:
        Identity("a", scopes=frozenset({Scope.JOBS_READ})).require_scope(Scope.JOBS_WRITE)
    assert caught.value.details.detail == "jobs:write is needed"
    assert 'scope="jobs:write"' in caught.value.headers["WWW-Authenticate"]


async def test_without_tokens_everybody_is_anybody_but_only_where_it_is_safe() -> None:
    """No tokens: fine on loopback or when asked for, refused on an address that others can reach. Nobody administers
    without a token but from this machine."""
    for host, allowed in (("127.0.0.1", False), ("localhost", False), ("::1", False), ("10.0.0.1", True)):
        authenticator = _authenticator(" \n", host, allow_anonymous=allowed)
        assert not authenticator.required
        found = await authenticator.identify(_bearer())
        assert found.organization_id is None
        assert (Scope.ADMIN in found.scopes) is is_loopback(host)
    for host in ("0.0.0.0", "::", "10.0.0.1", "gateway"):  # noqa: S104 - nothing is bound
        with pytest.raises(SettingsInvalid, match="API_TOKENS"):
            _authenticator("", host)
        assert not is_loopback(host)
        assert _authenticator("", host, api_keys=True).required


@pytest.mark.parametrize("line", ["secret-token", "a" * 63, f"{'a' * 64} org two", f"{'a' * 64} b\u00e4d"])
def test_a_malformed_line_is_refused_by_number_and_not_repeated(line: str) -> None:
    """A line that is no hash may be a token in clear text: the error must not show it."""
    with pytest.raises(SettingsInvalid, match="line 2") as caught:
        _authenticator(f"{'0' * 64}\n{line}")
    assert line not in str(caught.value)


def test_the_text_of_a_key_is_known_by_one_pattern() -> None:
    """Keys differ, match the published pattern, and a typing error anywhere is found by the checksum or the pattern."""
    keys = [key_text.new_key() for _ in range(50)]
    assert len({key.id for key in keys}) == len({key.text for key in keys}) == 50
    for key in keys:
        assert re.fullmatch(key_text.PATTERN, key.text)
        assert key_text.id_of(key.text) == key.id
        assert not key_text.is_mistyped(key.text)
        assert key.digest == hash_token(key.text)
    text = keys[0].text
    for place in range(len(text)):
        typed = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]
        assert key_text.id_of(typed) is None or key_text.is_mistyped(typed)


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", ["203.0.113.7"], "192.0.2.1"),
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", ["203.0.113.7"], "203.0.113.7"),
        ("10.1.2.3", ["198.51.100.1, 203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        ("10.1.2.3", ["198.51.100.1", "203.0.113.7:4711"], "203.0.113.7"),
        ("10.1.2.3", ["203.0.113.7, nonsense"], "10.1.2.3"),
        ("10.1.2.3", ["10.0.0.1"], "10.0.0.1"),
        ("::ffff:10.1.2.3", ["[2001:db8::1]:80"], "2001:db8::1"),
        (None, ["203.0.113.7"], UNKNOWN),
    ],
)
def test_the_address_of_a_caller(peer: str | None, forwarded: list[str], found: str) -> None:
    """Only a trusted proxy's word counts, and of its list the last entry that is none of the proxies."""
    scope = {
        "client": None if peer is None else (peer, 1),
        "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded],
    }
    assert ClientAddresses("10.0.0.0/8").of(scope) == found


def test_a_trusted_proxy_that_is_no_address_is_refused() -> None:
    """The start stops with a line that names the setting."""
    with pytest.raises(SettingsInvalid, match="TRUSTED_PROXIES"):
        ClientAddresses("10.0.0.0/8, proxy.example.com")


def test_more_than_twenty_bad_tokens_a_minute_are_told_to_wait() -> None:
    """By address, of IPv6 by network; the next minute begins at zero, and no flood of addresses fills the memory."""
    now = 100.0
    guesses = Guesses(clock=lambda: now)
    assert [guesses.failed("192.0.2.1") for _ in range(LIMIT)] == [None] * LIMIT
    assert guesses.failed("192.0.2.1") == WINDOW_S
    assert guesses.failed("192.0.2.2") is None
    for host in range(LIMIT):
        assert guesses.failed(f"2001:db8::{host:x}") is None
    assert guesses.failed("2001:db8::ffff") == WINDOW_S
    now += WINDOW_S
    assert guesses.failed("192.0.2.1") is None
    for host in range(ADDRESSES_MAX + 10):
        guesses.failed(f"10.{host >> 16}.{host >> 8 & 255}.{host & 255}")
    assert len(guesses._windows) == ADDRESSES_MAX
