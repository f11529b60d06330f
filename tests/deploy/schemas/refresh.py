"""Makes the JSON schemas beside this file again, when a platform has learned something new.

In a scratch environment, not in the project's (together they are 250 MB, the result is 150 KB):

    pip install kubernetes-validate==1.37.0 google-api-python-client==2.202.0 cloudcoil-models-keda==2.16.1.0
    npm install --prefix SCRATCH @vercel/routing-utils@6.6.0 @vercel/build-utils@14.21.1
    python -m tests.deploy.schemas.refresh SCRATCH

Kubernetes: the strict variant of the API server's OpenAPI document. Cloud Run: Google's discovery document of its v1
API. KEDA: the models of its CRDs. Vercel: the schemas that its command line checks vercel.json with. Unknown fields are
refused everywhere; descriptions are left out.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

Json = Any

HERE: Final = Path(__file__).parent
KUBERNETES: Final = {
    "Deployment": "deployment-apps-v1",
    "Service": "service-v1",
    "ServiceAccount": "serviceaccount-v1",
    "ConfigMap": "configmap-v1",
    "Secret": "secret-v1",
    "Namespace": "namespace-v1",
    "Ingress": "ingress-networking-v1",
    "NetworkPolicy": "networkpolicy-networking-v1",
    "PodDisruptionBudget": "poddisruptionbudget-policy-v1",
}
FALLBACKS: Final = ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]
"""A field of ScaledObject that is newer than the models (KEDA's reference, "ScaledObject specification")."""

NODE: Final = """
const routing = require('@vercel/routing-utils'), build = require('@vercel/build-utils');
console.log(JSON.stringify({rewrites: routing.rewritesSchema, headers: routing.headersSchema,
  functions: build.functionsSchema, cleanUrls: routing.cleanUrlsSchema, trailingSlash: routing.trailingSlashSchema}));
"""


def _bare(schema: Json, *, strict: bool) -> Json:
    """Without descriptions; `strict`: objects whose fields are listed have no other ones."""
    if isinstance(schema, list):
        return [_bare(item, strict=strict) for item in schema]
    if not isinstance(schema, dict):
        return schema
    left_out = ("$schema", "$id", "description", "title", "default", "deprecated", "enumDescriptions", "id", "format")
    bare = {
        name: {key: _bare(held, strict=strict) for key, held in value.items()}
        if name in ("properties", "definitions", "$defs", "patternProperties")
        else _bare(value, strict=strict)
        for name, value in schema.items()
        if name not in left_out and not name.startswith("x-")
    }
    if strict and "properties" in bare:
        bare.setdefault("additionalProperties", False)
    return bare


def _closure(roots: Iterable[str], read: Callable[[str], Json]) -> dict[str, Json]:
    """The named definitions and everything they refer to."""
    found: dict[str, Json] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = read(name)
            waiting += _references(found[name])
    return dict(sorted(found.items()))


def _references(schema: Json) -> list[str]:
    if isinstance(schema, list):
        return [name for item in schema for name in _references(item)]
    if not isinstance(schema, dict):
        return []
    here = [schema["$ref"].rpartition("/")[2]] if isinstance(schema.get("$ref"), str) else []
    return here + [name for value in schema.values() for name in _references(value)]


def _kinds(kinds: dict[str, str], definitions: dict[str, Json]) -> Json:
    return {"kinds": kinds, "definitions": definitions}


def kubernetes() -> Json:
    """Kinds of Kubernetes 1.37."""
    folder = Path(str(files("kubernetes_validate"))) / "kubernetes-json-schema/v1.37.0-local-strict"
    whole = _local(json.loads((folder / "_definitions.json").read_text())["$defs"])
    whole |= {kind: _local(json.loads((folder / f"{name}.json").read_text())) for kind, name in KUBERNETES.items()}
    definitions = _closure(KUBERNETES, lambda name: _bare(whole[name], strict=False))
    return _kinds({kind: kind for kind in KUBERNETES}, definitions)


def _local(schema: Json) -> Json:
    text = json.dumps(schema).replace("/api/_definitions.json#", "#")
    return json.loads(text.replace("#/$defs/", "#/definitions/"))


def cloud_run() -> Json:
    """Kinds of Cloud Run's v1 API."""
    document = files("googleapiclient") / "discovery_cache/documents/run.v1.json"
    whole = json.loads(document.read_text(encoding="utf-8"))["schemas"]

    def read(name: str) -> Json:
        text = json.dumps(_bare(whole[name], strict=True))
        for reference in whole:
            text = text.replace(f'"$ref": "{reference}"', f'"$ref": "#/definitions/{reference}"')
        return json.loads(text)

    return _kinds({"Service": "Service", "WorkerPool": "WorkerPool"}, _closure(["Service", "WorkerPool"], read))


def keda() -> Json:
    """ScaledObject and TriggerAuthentication of KEDA 2.16."""
    models = importlib.import_module("cloudcoil.models.keda.v1alpha1")
    definitions: dict[str, Json] = {}
    for kind in ("ScaledObject", "TriggerAuthentication"):
        schema = json.loads(json.dumps(getattr(models, kind).model_json_schema()).replace("#/$defs/", "#/definitions/"))
        definitions |= schema.pop("$defs")
        definitions[kind] = schema
    bare = {name: _bare(schema, strict=True) for name, schema in sorted(definitions.items())}
    bare["Fallback"]["properties"]["behavior"] = {"enum": FALLBACKS}
    return _kinds({"ScaledObject": "ScaledObject", "TriggerAuthentication": "TriggerAuthentication"}, bare)


def vercel(scratch: Path) -> Json:
    """vercel.json: the fields that are used here."""
    run = subprocess.run(["node", "-e", NODE], cwd=scratch, capture_output=True, text=True, check=True)
    properties = json.loads(run.stdout) | {
        "$schema": {"type": "string"},
        "framework": {"type": ["string", "null"]},
        "buildCommand": {"type": ["string", "null"]},
        "installCommand": {"type": ["string", "null"]},
        "outputDirectory": {"type": ["string", "null"]},
        "regions": {"type": "array", "items": {"type": "string"}},
    }
    whole = {"type": "object", "properties": properties, "additionalProperties": False}
    return _kinds({"vercel.json": "Config"}, {"Config": _bare(whole, strict=False)})


def main(scratch: Path) -> None:
    """Write the four files."""
    made = {"kubernetes": kubernetes(), "cloudrun": cloud_run(), "keda": keda(), "vercel": vercel(scratch)}
    for name, schema in made.items():
        (HERE / f"{name}.json").write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
