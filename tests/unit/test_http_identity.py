"""Tokens become identities."""

from __future__ import annotations

import pytest

from shared.errors import SettingsInvalid
from shared.http.access import is_loopback
from shared.http.auth import ANONYMOUS, Authenticator, Identity, hash_token
from shared.http.problems import Problem


def _authenticator(lines: str) -> Authenticator:
    return Authenticator(lines, host="0.0.0.0", allow_anonymous=False)  # noqa: S104 - nothing is bound


def _bearer(value: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"authorization", value)]


def test_a_token_is_whom_its_line_says() -> None:
    """A bound token is its organisation, an unbound one may see all; the scheme's case does not matter."""
    authenticator = _authenticator(f"{hash_token('a')} org-1\n{hash_token('b')}\n")
    assert authenticator.required
    assert authenticator.identify(_bearer(b"Bearer a")) == Identity("org-1")
    assert authenticator.identify(_bearer(b"bearer b")) == Identity(None)


@pytest.mark.parametrize(
    "value", [b"", b"Bearer", b"Bearer ", b"Bearer c", b"Basic a", b"a", b"Bearer \xff", b"Bearer a b"]
)
def test_anything_else_is_401(value: bytes) -> None:
    """No token, a wrong one, another scheme or no header at all: 401 with a challenge."""
    authenticator = _authenticator(hash_token("a"))
    for headers in (_bearer(value), []):
        with pytest.raises(Problem) as caught:
            authenticator.identify(headers)
        assert caught.value.kind.status == 401
        assert caught.value.headers == {"WWW-Authenticate": "Bearer"}


def test_an_identity_sees_its_own_organization_alone() -> None:
    """A bound identity may see one organisation, an unbound one any."""
    assert Identity("a").may_see("a")
    assert not Identity("a").may_see("b")
    assert Identity(None).may_see("b")


def test_without_tokens_everybody_is_anybody_but_only_where_it_is_safe() -> None:
    """No tokens: fine on loopback or when asked for, refused on an address that others can reach."""
    for host, allowed in (("127.0.0.1", False), ("localhost", False), ("::1", False), ("10.0.0.1", True)):
        authenticator = Authenticator(" \n", host=host, allow_anonymous=allowed)
        assert not authenticator.required
        assert authenticator.identify([]) is ANONYMOUS
    for host in ("0.0.0.0", "::", "10.0.0.1", "gateway"):  # noqa: S104 - nothing is bound
        with pytest.raises(SettingsInvalid, match="API_TOKENS"):
            Authenticator("", host=host, allow_anonymous=False)
        assert not is_loopback(host)


@pytest.mark.parametrize("line", ["secret-token", "a" * 63, f"{'a' * 64} org two", f"{'a' * 64} b\u00e4d"])
def test_a_malformed_line_is_refused_by_number_and_not_repeated(line: str) -> None:
    """A line that is no hash may be a token in clear text: the error must not show it."""
    with pytest.raises(SettingsInvalid, match="line 2") as caught:
        _authenticator(f"{'0' * 64}\n{line}")
    assert line not in str(caught.value)
