"""Builds the manifests with Kustomize and the JSON schemas for kubeconform from the operators' definitions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

REPO: Final = Path(__file__).resolve().parents[3]
BIN: Final = REPO / ".tools" / "bin"
K8S: Final = REPO / "k8s"
OVERLAYS: Final = ("dev", "staging", "prod")
CRDS: Final = Path(__file__).parent / "crds"
KUBERNETES: Final = "1.34"
_BUNDLED: Final = Path(sysconfig.get_path("purelib")) / "kubernetes_validate" / "kubernetes-json-schema"
_ADDRESS: Final = re.compile(r'^  "\$id": "[^"]*"', re.MULTILINE)

Manifest = dict[str, Any]


def tool(name: str) -> str:
    """Return the path of a tool in .tools/bin.

    Raises:
        FileNotFoundError: the tool is not installed.
    """
    path = BIN / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run `make setup-platform`")
    return str(path)


def build(folder: Path) -> list[Manifest]:
    """Return the manifests that Kustomize builds from a folder.

    Raises:
        ValueError: Kustomize failed; the text is its own error message.
    """
    made = subprocess.run([tool("kustomize"), "build", str(folder)], capture_output=True, text=True, check=False)
    if made.returncode:
        raise ValueError(made.stderr.strip())
    return [item for item in yaml.load_all(made.stdout, yaml.CSafeLoader) if item]


COMPONENTS: Final = (
    "lake", "merchants", "own-features", "webhooks", "identity", "redis", "traces", "registry", "canary", "kafka-ui",
)  # fmt: skip
"""Optional components, in the order in which they are listed before `platform`."""


def add_component(overlay: Path, name: str) -> None:
    """Add an optional component to a copy of an overlay, as docs/deploy.md says."""
    path, platform = overlay / "kustomization.yaml", "  - ../../components/platform\n"
    text = path.read_text()
    if f"components/{name}\n" in text or platform not in text:
        raise ValueError(f"{path} has the component {name} already, or no component `platform`")
    path.write_text(text.replace(platform, f"  - ../../components/{name}\n{platform}"))


def with_components(folder: Path, overlay: str, *names: str) -> list[Manifest]:
    """Return the manifests of an overlay with optional components, built in the empty folder ``folder``."""
    shutil.copytree(K8S, folder / "k8s")
    place = folder / "k8s" / "overlays" / overlay
    for name in names:
        add_component(place, name)
    return build(place)


def strict(schema: Any) -> Any:  # noqa: ANN401 - any part of a JSON schema
    """Return the schema of a definition as a JSON Schema that rejects unknown fields, as the API server does."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    kept = {name: strict(part) for name, part in schema.items() if not name.startswith("x-kubernetes-")}
    if "properties" in schema:
        kept["properties"] = {name: strict(part) for name, part in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            kept.setdefault("additionalProperties", False)
    if schema.get("nullable") and isinstance(schema.get("type"), str):
        kept["type"] = [schema["type"], "null"]
    return kept


def write_schemas(folder: Path, kinds: Iterable[str]) -> None:
    """Write the schemas of these Kubernetes kinds and of all custom kinds, named as kubeconform expects them."""
    folder.mkdir(parents=True, exist_ok=True)
    bundled = _BUNDLED / f"v{KUBERNETES}.0-local-strict"
    for path in {bundled / "_definitions.json"}.union(*(bundled.glob(f"{kind.lower()}-*.json") for kind in kinds)):
        # The bundled files have an address as their id and refer to each other by absolute paths.
        text = _ADDRESS.sub('  "$comment": ""', path.read_text()).replace(
            '"/api/_definitions.json#', '"_definitions.json#'
        )
        (folder / path.name).write_text(text)
    for path in sorted(CRDS.glob("*.json")):
        definition = json.loads(path.read_text())["spec"]
        kind, group = definition["names"]["kind"].lower(), definition["group"].split(".")[0]
        for version in definition["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"] |= {
                "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
            }  # fmt: skip
            schema["required"] = sorted({*schema.get("required", ()), "apiVersion", "kind", "metadata"})
            (folder / f"{kind}-{group}-{version['name']}.json").write_text(json.dumps(schema))


def kubeconform(manifests: list[Manifest], schemas: Path) -> list[str]:
    """Return the errors of kubeconform, one line each.

    Raises:
        ValueError: kubeconform printed no result.
    """
    location = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    done = subprocess.run(
        [tool("kubeconform"), "-strict", "-output", "json", "-schema-location", location, "-"],
        input="\n---\n".join(json.dumps(item) for item in manifests),
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout.strip():
        raise ValueError(done.stderr.strip())
    return [f"{item['kind']}/{item['name']}: {item['msg']}" for item in json.loads(done.stdout)["resources"]]


def name_of(manifest: Manifest) -> str:
    """Return ``Kind/name`` for messages."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Return the manifests of one kind.

    Raises:
        LookupError: there is none, so a check of them would check nothing.
    """
    found = [item for item in manifests if item["kind"] == kind]
    if not found:
        raise LookupError(f"no {kind} in the manifests")
    return found
