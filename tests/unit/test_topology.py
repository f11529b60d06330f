"""Forms of REDIS_URL, and that nothing of it shows when it is wrong."""

from __future__ import annotations

import pytest
from redis.asyncio.connection import SSLConnection

from shared.errors import SettingsInvalid
from shared.store.connection.connector import Connector, RedisSettings
from shared.store.connection.url import Address, parse, slot
from shared.store.keys import Keys

SECRET = "s3cr3t"


def test_a_cluster_is_a_list_of_seeds() -> None:
    """Ports may be left out, user and password are those of every node, a name in brackets is an IPv6 address."""
    found = parse(f"redis+cluster://user:{SECRET}@a:7000,b,[::1]:7001")
    assert found.kind == "cluster"
    assert found.seeds == (Address("a", 7000), Address("b", 6379), Address("::1", 7001))
    assert (found.options["username"], found.options["password"]) == ("user", SECRET)
    assert found.moves
    assert SECRET not in repr(found)


def test_sentinels_know_a_master_by_its_name() -> None:
    """The path is the master's name, then a database number, which a query may name as well."""
    found = parse("redis+sentinel://:p%40ss@a:26379,b/queue/3?max_connections=1")
    assert (found.kind, found.master_name, found.options["db"]) == ("sentinel", "queue", 3)
    assert found.options["password"] == "p@ss"
    assert found.seeds == (Address("a", 26379), Address("b", 26379))
    assert parse("redis+sentinel://a/queue?db=2").options["db"] == 2


@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
def test_tls_is_the_master_s_too(kind: str) -> None:
    """rediss+…:// speaks TLS to whom it asks and to whom it finds."""
    found = parse(f"rediss+{kind}://a/queue" if kind == "sentinel" else "rediss+cluster://a")
    assert found.options["connection_class"] is SSLConnection


def test_a_single_server_is_what_it_was() -> None:
    """Nobody is asked where the master is."""
    assert (parse("redis://h:1/2").kind, parse("unix:///s").moves) == ("single", False)


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{SECRET}@h",
        f"redis+cluster://user:{SECRET}@",
        f"redis+cluster://user:{SECRET}@h:99999",
        f"redis+cluster://user:{SECRET}@h/1",
        f"redis+cluster://user:{SECRET}@h?db=1",
        f"redis+cluster://user:{SECRET}@h?colour=blue",
        f"redis+cluster://user:{SECRET}@h?nonsense",
        f"redis+sentinel://user:{SECRET}@h",
        f"redis+sentinel://user:{SECRET}@h/queue/x",
        f"redis+magic://user:{SECRET}@h",
        f"redis://user:{SECRET}@h?socket_timeout=x",
        f"redis://user:{SECRET}@h?colour=blue",
    ],
)
def test_a_wrong_url_is_one_line_without_the_secret(url: str) -> None:
    """The operator's line names the setting and never its value."""
    with pytest.raises(SettingsInvalid) as refused:
        Connector(RedisSettings(url=url))
    assert str(refused.value).startswith("REDIS_URL")
    assert SECRET not in str(refused.value)


def test_the_slot_is_that_of_the_specification() -> None:
    """CRC16 of the hash tag: the example of the specification, and ours, which all keys share."""
    assert slot("123456789") == 0x31C3
    assert f"{{{Keys().tag}}}" in Keys().fixed("wake")
