"""Settings are read once, strictly, and complain in one line that never shows a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.worker.settings import WorkerSettings
from shared.chain import fleet_chain
from shared.errors import SettingsInvalid
from shared.setting_values import read
from shared.settings import RestEndpoint, read_store, redis_url, rest_endpoint


def test_defaults_and_values_come_from_the_mapping() -> None:
    """A field's variable is its name in capitals; empty counts as unset."""
    settings = read({"WORKER_CONCURRENCY": "7", "DRAIN_SECONDS": "", "DEMO_FAILURE_RATE": "0.5"}, WorkerSettings)
    assert (settings.worker_concurrency, settings.drain_seconds, settings.demo_failure_rate) == (7, 8.0, 0.5)


@pytest.mark.parametrize(("name", "value"), [("WORKER_CONCURRENCY", "many"), ("DEMO_FAILURE_RATE", "2")])
def test_a_wrong_setting_is_named_without_its_value(name: str, value: str) -> None:
    """The line names the variable and the expected value."""
    with pytest.raises(SettingsInvalid, match=f"^{name}: expected") as raised:
        read({name: value}, WorkerSettings)
    assert "\n" not in str(raised.value)
    assert "many" not in str(raised.value)


def test_secrets_may_come_from_files(tmp_path: Path) -> None:
    """NAME_FILE names a file whose content, without line ends and marks, is the value; a missing one is an error."""
    secret = tmp_path / "url"
    secret.write_text("\ufeffredis://:pass@host:1\r\n")
    assert redis_url({"REDIS_URL_FILE": str(secret)}) == "redis://:pass@host:1"
    with pytest.raises(SettingsInvalid, match="REDIS_URL_FILE"):
        redis_url({"REDIS_URL_FILE": str(tmp_path / "missing")})


@pytest.mark.parametrize("line_end", [" ", "\r", "\t", "\r\n"])
def test_what_an_env_file_leaves_around_a_value_is_not_part_of_it(line_end: str) -> None:
    """Blanks and the line ends of other systems are stripped; nothing but them counts as unset."""
    settings = read({"WORKER_CONCURRENCY": f" 7{line_end}", "OPENAI_API_KEY": f"sk-1{line_end}"}, WorkerSettings)
    assert (settings.worker_concurrency, settings.openai_api_key) == (7, "sk-1")
    assert read({"WORKER_CONCURRENCY": line_end}, WorkerSettings).worker_concurrency == 50
    assert redis_url({"REDIS_URL": f"redis://host:1{line_end}"}) == "redis://host:1"


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_value_in_quotes_is_refused(quote: str, tmp_path: Path) -> None:
    """`docker run --env-file` hands quotes on: a quoted key would be refused by its vendor only, job after job."""
    quoted = f"{quote}sk-secret{quote}"
    secret = tmp_path / "key"
    secret.write_text(quoted + "\n")
    for name, value in (("OPENAI_API_KEY", quoted), ("OPENAI_API_KEY_FILE", str(secret))):
        with pytest.raises(SettingsInvalid, match=r"^remove the quotes around OPENAI_API_KEY") as raised:
            read({name: value}, WorkerSettings)
        assert "secret" not in str(raised.value)


def test_the_line_says_what_may_stand_there() -> None:
    """An operator reads the kind of value, or the possible ones, and never the wrong one."""
    for name, value, wanted in (
        ("LEASE_SECONDS", "soon", "expected a number"),
        ("WAIT_REPLICAS", "soon", "expected a whole number"),
        ("LISTING", "soon", "expected 1 or 0"),
        ("DURABILITY", "soon", "expected one of server, replicated, fsync"),
        ("LEASE_SECONDS", "0.1", "expected `float` >= 1.0"),
    ):
        with pytest.raises(SettingsInvalid) as raised:
            read_store({"REDIS_URL": "redis://host", name: value})
        assert str(raised.value) == f"{name}: {wanted}"


def test_a_service_link_is_explained() -> None:
    """Kubernetes sets GATEWAY_PORT in every pod beside a service called gateway; Docker's links do too."""
    with pytest.raises(SettingsInvalid, match=r"^WORKER_METRICS_PORT: expected a whole number; it holds") as raised:
        read({"WORKER_METRICS_PORT": "tcp://10.0.0.1:9100"}, WorkerSettings)
    assert "enableServiceLinks: false" in str(raised.value)
    assert "10.0.0.1" not in str(raised.value)


@pytest.mark.parametrize("prefix", ["UPSTASH_REDIS_REST", "KV_REST_API"])
def test_the_rest_pair_becomes_a_tls_url(prefix: str) -> None:
    """Host and token of Upstash's REST pair give the TCP endpoint; the token is quoted; half a pair is refused."""
    pair = {f"{prefix}_URL": "https://eu1-x.upstash.io", f"{prefix}_TOKEN": "a/b+c"}
    assert redis_url(pair) == "rediss://default:a%2Fb%2Bc@eu1-x.upstash.io:6379"
    assert redis_url({**pair, "REDIS_URL": "redis://first"}) == "redis://first"
    with pytest.raises(SettingsInvalid, match="together"):
        redis_url({f"{prefix}_URL": "https://eu1-x.upstash.io"})


@pytest.mark.parametrize("url", ["http://eu1-x.upstash.io", "redis://x", "eu1-x.upstash.io", "https://user:pass@x", "",
                                 "https://[x", "https://x:abc", "https://x\u2100"])  # fmt: skip
def test_a_rest_url_that_would_leak_the_token_is_refused(url: str) -> None:
    """Only https carries the token, or loopback; the line names the setting and no value."""
    with pytest.raises(SettingsInvalid, match="KV_REST_API_URL") as raised:
        rest_endpoint({"KV_REST_API_URL": url, "KV_REST_API_TOKEN": "secret"})
    assert not url or url not in str(raised.value)
    assert "secret" not in str(raised.value)
    local = rest_endpoint({"KV_REST_API_URL": "http://127.0.0.1:8079/", "KV_REST_API_TOKEN": "secret"})
    assert local == RestEndpoint("http://127.0.0.1:8079", "secret")
    assert "secret" not in repr(local)


@pytest.mark.parametrize("name", ["REDIS_URL", "KV_URL"])
@pytest.mark.parametrize("url", ["redis://:pa[ss@h:6379", "redis://:pa\u2100ss@h:6379", "redis+cluster://:pa[ss@h:1"])
def test_a_password_that_breaks_the_url_is_one_line_without_it(name: str, url: str) -> None:
    """Python's own errors about such a URL repeat it, password and all."""
    with pytest.raises(SettingsInvalid, match="percent-encoded") as raised:
        read_store({name: url})
    assert "ss@h" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_the_frugal_profile_is_on_where_commands_are_billed() -> None:
    """The host or FRUGAL decides; lease, deltas and audit follow, and values set by hand stay as set."""
    hosted = read_store({"UPSTASH_REDIS_REST_URL": "https://eu1-x.upstash.io", "UPSTASH_REDIS_REST_TOKEN": "t"})
    assert (hosted.frugal, hosted.deltas, hosted.lease_seconds, hosted.quiet) == (True, False, 300.0, True)
    assert hosted.audit_seconds == 86_400
    url = {"REDIS_URL": "rediss://default:p@eu1-x.upstash.io:6379"}
    by_hand = read_store({**url, "DELTAS": "1", "LEASE_SECONDS": "20"})
    assert (by_hand.frugal, by_hand.deltas, by_hand.lease_seconds, by_hand.quiet) == (True, True, 20.0, False)
    plain = read_store({**url, "FRUGAL": "0"})
    assert (plain.frugal, plain.deltas, plain.lease_seconds, plain.audit_seconds) == (False, True, 15.0, 3600.0)
    assert not read_store({"REDIS_URL": "redis://upstash.io.example.com"}).frugal
    assert read_store({"REDIS_URL": "redis://localhost", "FRUGAL": "true"}).frugal
    with pytest.raises(SettingsInvalid, match="FRUGAL"):
        read_store({"REDIS_URL": "redis://localhost", "FRUGAL": "maybe"})


def test_a_service_without_a_redis_says_so() -> None:
    """Nobody guesses an address."""
    with pytest.raises(SettingsInvalid, match="REDIS_URL is not set"):
        read_store({})


def test_providers_are_pairs_in_order() -> None:
    """A model may be left out, and holds colons itself; without PROVIDERS the keys decide, without keys the demo."""
    assert fleet_chain("", {}) == ("demo:demo",)
    assert fleet_chain("openai:gpt-x, demo, local:llama3:8b", {}) == ("openai:gpt-x", "demo:demo", "local:llama3:8b")
    assert [name.split(":")[0] for name in fleet_chain("", {"openai": "k", "anthropic": "k"})] == [
        "openai",
        "anthropic",
    ]


@pytest.mark.parametrize(
    "text",
    [
        ":model",
        "a b:c",
        "openai:gpt x",
        "openai:a=1",
        "demo,demo",
        "demo,,demo",
        "groq",
        "Groq:m",
        "_x:m",
        "gr\u00f6q:m",
    ],
)
def test_ill_formed_providers_are_refused(text: str) -> None:
    """A separator of names cannot be part of one, and each comes once."""
    with pytest.raises(SettingsInvalid, match="PROVIDERS"):
        fleet_chain(text, {})
