"""Reads the manifests under deploy/ and holds them against the schemas beside this file."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

from tests.support.processes import ROOT

Manifest = dict[str, Any]

DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kubernetes/base"
OVERLAY = DEPLOY / "kubernetes/overlays/example"
CLOUD_RUN = DEPLOY / "cloudrun"


@cache
def _schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((Path(__file__).parent / f"schemas/{name}.json").read_text())
    return schema


@cache
def _validator(schema: str, definition: str) -> Any:
    whole = {"$ref": f"#/definitions/{definition}", "definitions": _schema(schema)["definitions"]}
    return jsonschema_rs.Draft7Validator(whole)


def complaints(manifest: Any, schema: str, kind: str) -> list[str]:
    """Faults of a manifest by the schema of its kind (`kubernetes`, `keda`, `cloudrun`, `vercel`); [] is right."""
    definition = _schema(schema)["kinds"].get(kind, kind)
    if definition not in _schema(schema)["definitions"]:
        return [f"{kind} is no kind that {schema} has"]
    errors = _validator(schema, definition).iter_errors(manifest)
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in errors]


def kubernetes_complaints(manifest: Manifest) -> list[str]:
    """The same for an object of Kubernetes or KEDA, by its own apiVersion."""
    schema = "keda" if manifest["apiVersion"].startswith("keda.sh/") else "kubernetes"
    return complaints(manifest, schema, manifest["kind"])


def documents(path: Path) -> list[Manifest]:
    """All documents of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def base() -> list[Manifest]:
    """Every object of the Kubernetes base, as its files have it."""
    return [
        manifest
        for name in documents(BASE / "kustomization.yaml")[0]["resources"]
        for manifest in documents(BASE / name)
    ]


def built(folder: Path) -> list[Manifest]:
    """Output of `kubectl kustomize` for a folder."""
    run = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True)
    return [document for document in yaml.safe_load_all(run.stdout) if document]


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Those of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def cloud_run() -> dict[str, Manifest]:
    """The services and the worker pool of Cloud Run, by service."""
    return {name: documents(CLOUD_RUN / f"{name}.yaml")[0] for name in ("gateway", "notifier", "worker")}


def containers(manifest: Manifest) -> Iterator[Manifest]:
    """The containers of a Deployment, a Service of Cloud Run or a WorkerPool."""
    spec = manifest["spec"]["template"]["spec"]
    yield from [*spec.get("initContainers", []), *spec["containers"]]


def environment(container: Manifest) -> dict[str, Any]:
    """The variables of a container: name to value, or to where the value comes from."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container.get("env", [])}
