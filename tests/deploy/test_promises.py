"""Promises of the manifests beyond their schemas: time to drain, least privilege, one metric to scale on."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from services.gateway.stats.queue_stats import view_stats
from services.worker.worker import RELEASE_SECONDS
from shared.store.results import QueueStats
from shared.streams.subscription import DRAIN_S
from shared.telemetry.command_budget import Meter
from shared.tracing.exporting import FLUSH_SECONDS
from tests.deploy.manifests import (
    BASE,
    CLOUD_RUN,
    Manifest,
    base,
    cloud_run,
    containers,
    documents,
    environment,
    of_kind,
)

DEPLOYMENTS = of_kind(base(), "Deployment")
CLOUD_RUN_SECONDS = 10
"""Between SIGTERM and SIGKILL, for services and worker pools (Google's container runtime contract)."""

by_name = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda manifest: manifest["metadata"]["name"])


def _one(manifest: Manifest) -> Manifest:
    (container,) = containers(manifest)
    return container


@by_name
def test_pods_run_with_the_least_privilege(deployment: Manifest) -> None:
    """Numeric non-root user, read-only root, no capability, default seccomp, no cluster token, memory bounded."""
    pod, container = deployment["spec"]["template"]["spec"], _one(deployment)
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == deployment["metadata"]["name"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert "memory" in container["resources"]["limits"]


@by_name
def test_pods_are_probed_where_the_services_answer(deployment: Manifest) -> None:
    """Liveness asks the process, readiness asks Redis too, both on the port on which the service listens."""
    container = _one(deployment)
    port, *others = container["ports"]
    settings = environment(container)
    assert str(port["containerPort"]) in {value for name, value in settings.items() if name.endswith("_PORT")}
    assert container["livenessProbe"]["httpGet"] == {"path": "/health/live", "port": port["name"]}
    assert container["startupProbe"]["httpGet"] == {"path": "/health/live", "port": port["name"]}
    assert container["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": port["name"]}
    metrics = (others or [port])[-1]
    assert (metrics["name"], metrics["containerPort"]) == ("metrics", 9100)
    assert "9100" in (settings.get("METRICS_PORT"), settings.get("WORKER_METRICS_PORT"))


@by_name
def test_pods_have_time_to_drain(deployment: Manifest) -> None:
    """The grace period is longer than all that happens between the decision to stop and the process's end."""
    container = _one(deployment)
    pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    draining = {
        "gateway": 5.0,
        "notifier": DRAIN_S + 2.0,
        "worker": float(environment(container).get("DRAIN_SECONDS", 8.0)) + RELEASE_SECONDS,
    }
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace >= pause + draining[deployment["metadata"]["name"]] + 5


def test_every_deployment_can_lose_one_pod_at_a_time_and_no_more() -> None:
    """Each has a disruption budget and a network policy that select its pods."""
    labels = {d["metadata"]["name"]: d["spec"]["template"]["metadata"]["labels"] for d in DEPLOYMENTS}
    budgets = {b["metadata"]["name"]: b["spec"] for b in of_kind(base(), "PodDisruptionBudget")}
    assert budgets.keys() == labels.keys()
    for name, budget in budgets.items():
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"].items() <= labels[name].items()


def test_network_is_denied_but_for_what_is_listed() -> None:
    """Default deny both ways; only workers reach the internet, on 443 alone and never the metadata service."""
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(base(), "NetworkPolicy")}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    part_of = documents(BASE / "kustomization.yaml")[0]["labels"]
    assert {"pairs": {"app.kubernetes.io/part-of": "presswork"}, "includeTemplates": True} in part_of
    outward = {name: spec for name, spec in policies.items() if "ipBlock" in repr(spec.get("egress", ""))}
    assert list(outward) == ["worker-to-providers"]
    assert outward["worker-to-providers"]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "worker"}
    (rule,) = outward["worker-to-providers"]["egress"]
    assert rule["ports"] == [{"port": 443, "protocol": "TCP"}]
    assert "169.254.0.0/16" in rule["to"][0]["ipBlock"]["except"]
    assert not [name for name, spec in policies.items() for rule in spec.get("ingress", []) if "from" not in rule]


def test_a_redis_in_the_namespace_is_reached_by_presswork_and_by_nobody_else() -> None:
    """Default deny holds for its pods too: a call that the services may make must also be let in, on the same port."""
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(base(), "NetworkPolicy")}
    redis = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "redis"}}}
    (out,) = [rule for rule in policies["names-and-redis"]["egress"] if redis in rule["to"]]
    let_in = [spec for spec in policies.values() if spec["podSelector"] == redis["podSelector"]]
    assert let_in == [
        {
            **redis,
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": policies["names-and-redis"]["podSelector"]}], "ports": out["ports"]}],
        }
    ]


def test_metrics_are_reached_by_monitoring_and_by_nobody_else() -> None:
    """They are on a port that neither the edge nor the autoscaler may call."""
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(base(), "NetworkPolicy")}
    reached = {
        name: {port["port"] for rule in spec.get("ingress", []) for port in rule["ports"]}
        for name, spec in policies.items()
        if spec["podSelector"] != {"matchLabels": {"app.kubernetes.io/name": "redis"}}
    }
    assert {name for name, ports in reached.items() if 9100 in ports} == {"monitoring-to-metrics"}
    assert reached["monitoring-to-metrics"] == {9100}
    assert set().union(*reached.values()) == {9100, "http"}


def test_each_service_has_a_redis_user_of_its_own() -> None:
    """Kubernetes and Cloud Run give every service another URL, and none that of another."""
    for deployment in DEPLOYMENTS:
        (volume,) = deployment["spec"]["template"]["spec"]["volumes"]
        keys = [item["key"] for item in volume["secret"]["items"] if item["path"] == "redis-url"]
        assert keys == [f"redis-url-{deployment['metadata']['name']}"]
    for name, manifest in cloud_run().items():
        url = environment(_one(manifest))["REDIS_URL"]
        assert url["secretKeyRef"]["name"] == f"presswork-redis-url-{name}"


def test_both_autoscalers_follow_the_same_figure_of_the_queue() -> None:
    """KEDA and Cloud Run read one number where the gateway really puts it, and never scale to 0."""
    (kubernetes,) = of_kind(base(), "ScaledObject")
    crema = documents(CLOUD_RUN / "autoscaling.yaml")[0]["spec"]["scaledObjects"][0]
    triggers = [spec["triggers"][0] for spec in (kubernetes["spec"], crema["spec"])]
    assert {trigger["type"] for trigger in triggers} == {"metrics-api"}
    fields = [{k: v for k, v in trigger["metadata"].items() if k != "url"} for trigger in triggers]
    assert fields[0] == fields[1]
    assert set(fields[0]) == {"valueLocation", "targetValue", "authMode"}
    stats = QueueStats(
        queued=12, processing=4, completed=0, failed=0, cancelled=0, delayed=2, throttled=3, by_queue={"high": 7}
    )
    answer: Any = msgspec.to_builtins(view_stats(stats, 0, Meter().projection))
    for step in fields[0]["valueLocation"].split("."):
        answer = answer[step]
    assert answer == 11
    for spec in (kubernetes["spec"], crema["spec"]):
        assert spec["minReplicaCount"] >= 1
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 300
    assert kubernetes["spec"]["fallback"]["behavior"] == "currentReplicasIfHigher"
    for worker in (next(d for d in DEPLOYMENTS if d["metadata"]["name"] == "worker"), cloud_run()["worker"]):
        assert float(fields[0]["targetValue"]) <= float(environment(_one(worker))["WORKER_CONCURRENCY"])


def test_cloud_run_workers_drain_within_its_ten_seconds() -> None:
    """DRAIN_SECONDS, releasing and sending traces leave two seconds of the ten for the rest."""
    settings = environment(_one(cloud_run()["worker"]))
    assert float(settings["DRAIN_SECONDS"]) <= 6
    assert float(settings["DRAIN_SECONDS"]) + RELEASE_SECONDS + FLUSH_SECONDS <= CLOUD_RUN_SECONDS - 2


@pytest.mark.parametrize("name", ["gateway", "notifier", "worker"])
def test_cloud_run_pins_secrets_and_images(name: str) -> None:
    """Secrets by version, images by digest, an identity of its own, and no secret as plain text."""
    manifest = cloud_run()[name]
    container = _one(manifest)
    assert re.fullmatch(rf".*/presswork-{name}@sha256:DIGEST", container["image"])
    assert manifest["spec"]["template"]["spec"]["serviceAccountName"].startswith(f"presswork-{name}@")
    settings = environment(container)
    secret = {key: value for key, value in settings.items() if isinstance(value, dict)}
    assert "REDIS_URL" in secret
    assert all(value["secretKeyRef"]["key"].isdigit() for value in secret.values())
    assert not [key for key in settings.keys() - secret.keys() if "TOKEN" in key or "KEY" in key or key == "REDIS_URL"]


def test_cloud_run_keeps_the_notifier_awake_and_its_streams_shorter_than_the_limit() -> None:
    """Its CPU is not taken away between requests, and a stream ends by itself before the platform cuts it."""
    notifier = cloud_run()["notifier"]
    template = notifier["spec"]["template"]
    assert template["metadata"]["annotations"]["run.googleapis.com/cpu-throttling"] == "false"
    assert float(environment(_one(notifier))["NOTIFIER_STREAM_SECONDS"]) < template["spec"]["timeoutSeconds"] <= 3600
    assert (
        int(environment(_one(notifier))["NOTIFIER_MAX_CONNECTIONS"]) <= template["spec"]["containerConcurrency"] <= 1000
    )
