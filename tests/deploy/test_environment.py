"""The names of settings in manifests are names that the services read: a typo would be a setting that does nothing."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import msgspec
import pytest
import yaml

from deploy.environment import PROVIDER_SECRET
from tests.deploy.manifests import BASE, OVERLAY, base, cloud_run, containers, documents, environment
from tests.support.processes import ROOT

SERVICES = ("gateway", "notifier", "worker")

ADDRESSES = ("REDIS_URL", "KV_URL", "UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN", "KV_REST_API_URL",
             "KV_REST_API_TOKEN")  # fmt: skip
"""Read by `shared.settings.redis_url`, which knows more names than there are fields."""


def _fields(module: str) -> set[str]:
    structs = [
        kind
        for _, kind in inspect.getmembers(importlib.import_module(module), inspect.isclass)
        if issubclass(kind, msgspec.Struct) and kind.__module__ == module
    ]
    return {field.name.upper() for kind in structs for field in msgspec.structs.fields(kind)}


def known(service: str) -> set[str]:
    """Settings that a service reads from its environment, as values and as files."""
    names = _fields("shared.settings") | _fields(f"services.{service}.settings") | set(ADDRESSES)
    names |= _fields("shared.tracing.settings") if service != "notifier" else set()
    return names | {f"{name}_FILE" for name in names}


def _compose() -> dict[str, dict[str, Any]]:
    path = ROOT / "docker-compose.yml"
    whole = yaml.safe_load(path.read_text()) if path.exists() else {"services": {}}
    return {name: service for name, service in whole["services"].items() if name in SERVICES}


def _compose_names(service: dict[str, Any]) -> set[str]:
    given = service.get("environment", {})
    return {entry.partition("=")[0] for entry in given} if isinstance(given, list) else set(given)


def used(service: str) -> set[str]:
    """Settings of a service in the manifests."""
    manifests = [manifest for manifest in base() if manifest["kind"] == "Deployment"]
    manifests += documents(OVERLAY / "providers.yaml")
    manifests = [manifest for manifest in manifests if manifest["metadata"]["name"] == service]
    manifests.append(cloud_run()[service])
    names = {name for manifest in manifests for container in containers(manifest) for name in environment(container)}
    return names | _compose_names(_compose().get(service, {}))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_given_only_what_it_reads(service: str) -> None:
    """Every variable of Kubernetes, Cloud Run and Compose is a field of that service's settings."""
    assert used(service) - known(service) == set()
    assert used(service) & {"REDIS_URL", "REDIS_URL_FILE"}


def test_keys_of_providers_reach_the_worker_alone() -> None:
    """In Kubernetes, Cloud Run and Compose as in `make run`; the gateway gets PROVIDERS."""
    for service in ("gateway", "notifier"):
        assert not [name for name in used(service) if PROVIDER_SECRET.fullmatch(name)]
    assert [name for name in used("worker") if PROVIDER_SECRET.fullmatch(name)]


@pytest.mark.parametrize("folder", [BASE, OVERLAY], ids=["base", "overlay"])
def test_the_settings_that_services_share_are_read_by_one_of_them(folder: Any) -> None:
    """The generated ConfigMap holds no unread name, and no secret."""
    (generator,) = documents(folder / "kustomization.yaml")[0]["configMapGenerator"]
    names = {literal.partition("=")[0] for literal in generator["literals"]}
    assert names - set().union(*(known(service) for service in SERVICES)) == set()
    assert not [name for name in names if any(word in name for word in ("TOKEN", "KEY", "SECRET", "URL_FILE"))]


def test_a_typo_would_be_found() -> None:
    """The collected names are not so many that anything passes."""
    assert "DRAIN_SECONDS" in known("worker") - known("gateway")
    assert not {"DRAIN_SECOND", "REDIS_URI", "NOTIFIER_PORT"} & known("gateway")
