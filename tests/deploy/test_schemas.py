"""Every manifest fits its platform's schema, and a typo does not."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest

from tests.deploy.manifests import (
    BASE,
    CLOUD_RUN,
    DEPLOY,
    OVERLAY,
    base,
    built,
    cloud_run,
    complaints,
    documents,
    kubernetes_complaints,
    of_kind,
)

VERCEL = sorted((DEPLOY / "vercel").rglob("*vercel.json"))
with_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kustomize is part of kubectl")


def test_the_base_is_valid_object_by_object() -> None:
    """Kubernetes 1.37 and KEDA take every object of the base; nothing in it is unknown to them."""
    wrong = {
        f"{manifest['kind']} {manifest['metadata']['name']}": kubernetes_complaints(manifest) for manifest in base()
    }
    assert not {name: said for name, said in wrong.items() if said}
    assert len(wrong) == len(base()) >= 18


@pytest.mark.parametrize("folder", [BASE, OVERLAY], ids=["base", "overlay"])
def test_a_kustomization_names_every_file_beside_it(folder: Path) -> None:
    """No manifest lies there unused, and none is missing."""
    kustomization = documents(folder / "kustomization.yaml")[0]
    named = {*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", []))}
    assert {name for name in named if (folder / name).is_file()} == {
        path.name for path in folder.glob("*.yaml") if path.name != "kustomization.yaml"
    }
    assert all((folder / name).exists() for name in named)


@with_kubectl
@pytest.mark.parametrize("folder", [BASE, OVERLAY], ids=["base", "overlay"])
def test_kustomize_builds_valid_objects(folder: Path) -> None:
    """The objects for a cluster are valid too, patches and generated names included."""
    manifests = built(folder)
    assert not [said for manifest in manifests if (said := kubernetes_complaints(manifest))]
    (settings,) = of_kind(manifests, "ConfigMap")
    for deployment in of_kind(manifests, "Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]


@with_kubectl
def test_the_overlay_changes_what_it_says() -> None:
    """Its images, its Redis and its numbers of workers are in the build."""
    manifests = built(OVERLAY)
    images = [m["spec"]["template"]["spec"]["containers"][0]["image"] for m in of_kind(manifests, "Deployment")]
    assert all(image.startswith("registry.example.com/presswork-") for image in images)
    (scaling,) = of_kind(manifests, "ScaledObject")
    assert (scaling["spec"]["minReplicaCount"], scaling["spec"]["maxReplicaCount"]) == (2, 50)
    redis = next(m for m in of_kind(manifests, "NetworkPolicy") if m["metadata"]["name"] == "names-and-redis")
    assert redis["spec"]["egress"][1]["to"] == [{"ipBlock": {"cidr": "203.0.113.0/24"}}]


def test_cloud_run_takes_its_manifests() -> None:
    """Google's v1 API knows every field of the two services and the worker pool."""
    wrong = {name: complaints(manifest, "cloudrun", manifest["kind"]) for name, manifest in cloud_run().items()}
    assert not {name: said for name, said in wrong.items() if said}


def test_the_autoscaler_of_cloud_run_takes_its_configuration() -> None:
    """Its scaled object is one of KEDA, without the fields that the autoscaler ignores or refuses."""
    (config,) = documents(CLOUD_RUN / "autoscaling.yaml")
    assert (config["apiVersion"], config["kind"]) == ("crema/v1", "CremaConfig")
    assert set(config["spec"]) == {"pollingInterval", "triggerAuthentications", "scaledObjects"}
    (scaled,) = config["spec"]["scaledObjects"]
    assert complaints(scaled["spec"], "keda", "ScaledObjectSpec") == []
    refused = {"pollingInterval", "cooldownPeriod", "initialCooldownPeriod", "fallback", "idleReplicaCount"}
    assert not refused & set(scaled["spec"])
    (authentication,) = config["spec"]["triggerAuthentications"]
    assert set(authentication["spec"]) == {"gcpSecretManager"}
    assert complaints(authentication["spec"]["gcpSecretManager"], "keda", "GcpSecretManager") == []
    assert scaled["spec"]["triggers"][0]["authenticationRef"]["name"] == authentication["metadata"]["name"]


@pytest.mark.parametrize("path", VERCEL, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_vercel_takes_its_configuration(path: Path) -> None:
    """Vercel's own schemas know every field, and the functions it names are files of this repository."""
    config = json.loads(path.read_text())
    assert complaints(config, "vercel", "vercel.json") == []
    assert all((DEPLOY.parent / function).is_file() for function in config.get("functions", {}))


def test_a_typo_anywhere_is_refused() -> None:
    """The schemas are strict: an unknown field is an error at any depth, and so is a wrong type."""
    deployment = next(m for m in base() if m["kind"] == "Deployment")
    broken = copy.deepcopy(deployment)
    broken["spec"]["template"]["spec"]["containers"][0]["readinessProb"] = {}
    assert kubernetes_complaints(broken)
    service = cloud_run()["gateway"]
    broken = copy.deepcopy(service)
    broken["spec"]["template"]["spec"]["timeoutSecond"] = 60
    assert complaints(broken, "cloudrun", "Service")
    broken = copy.deepcopy(service)
    broken["metadata"]["annotations"]["run.googleapis.com/minScale"] = 1
    assert complaints(broken, "cloudrun", "Service")
    scaling = next(m for m in base() if m["kind"] == "ScaledObject")
    broken = copy.deepcopy(scaling)
    broken["spec"]["minReplicas"] = 1
    assert kubernetes_complaints(broken)
    assert complaints({"rewrites": [{"source": "/a", "destinaton": "/b"}]}, "vercel", "vercel.json")
