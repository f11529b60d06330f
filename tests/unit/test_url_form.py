"""A REDIS_URL that would be read as something else is refused in words that repeat nothing of it."""

from __future__ import annotations

import pytest

from shared.errors import SettingsInvalid
from shared.settings import read_store
from shared.store.connection.connector import Connector, RedisSettings

WRONG = {
    "redis://:pl4nt#ed@host:6379": "%23",
    "rediss://user:pl4nt/ed@host": "%2F",
    "redis://default:12/34pl4nted@host:6379": "%2F",
    "redis://:pl4nt?ed@host": "%3F",
    "redis://:12?pl4nted=x@host/0": "%3F",
    "redis+cluster://:pl4nt?ed@a,b": "%3F",
    "redis+sentinel://:pl4nt/ed@a,b/queue": "%2F",
    "redis://:pl4nted%zz@host": "%25",
    "redis://host/pl4nted": "not a database number",
    "redis://host/-1": "not a database number",
    "redis://host?db=pl4nted": "not a database number",
    "redis://host?decode_responses=True": "decode_responses",
    "redis://host?encoding=latin-1": "encoding",
    "unix:///run/valkey.sock?credential_provider=x": "credential_provider",
    "unix:///run/val#key.sock": "%23",
    "redis://host?pl4nted=1": "unknown option",
    "redis://host?pl4nted": "unknown option",
}
RIGHT = (
    "redis://:p@ss:w@host/2", "redis://:p%23%2F%3F%25@host", "redis://host?client_name=a@b&protocol=3", "redis://host/2/",
    "unix:///a%20b?db=2", "rediss://h?ssl_cert_reqs=none", "redis+sentinel://a,b/queue/3", "redis://",
)  # fmt: skip


@pytest.mark.parametrize("url", WRONG)
def test_the_line_names_what_is_wrong(url: str) -> None:
    """The character that must be encoded, the option, or the database; never the content of the URL."""
    with pytest.raises(SettingsInvalid, match=r"^REDIS_URL") as refused:
        Connector(RedisSettings(url=read_store({"REDIS_URL": url}).redis_url))
    assert WRONG[url] in str(refused.value)
    assert not any(part in str(refused.value) for part in ("pl4nt", "ed@", "34", "host:"))


@pytest.mark.parametrize("url", RIGHT)
def test_what_is_right_is_taken(url: str) -> None:
    """Also a password with @ and : in it, and options that Presswork sets itself."""
    Connector(RedisSettings(url=read_store({"REDIS_URL": url}).redis_url))
