"""Makes a Helm chart of an overlay: ``python -m tests.lab.platform.helm_chart`` (``make chart``).

Nobody writes the chart by hand, so it cannot differ from the manifests. The overlay is built with marks in place of the
values that an installation chooses. The marks become Helm's expressions, and the overlay's own values become the
defaults of the chart. ``helm_checks.py`` compares the chart with the overlay, object by object.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tests.lab.platform.k8s_manifests import K8S, REPO, Manifest, build, name_of

OVERLAY: Final = "prod"
FOLDER: Final = REPO / ".tools" / "chart" / "streamflow"
IMAGES: Final = ("job", "tools")
HOOK: Final = {
    "helm.sh/hook": "post-install,pre-upgrade",
    "helm.sh/hook-delete-policy": "before-hook-creation",
}
"""Annotations of the migration: Argo CD runs it before each release, and so must Helm."""
_MARK: Final = re.compile(r"MARK\.([A-Za-z0-9_.]+)\.KRAM")
_FLINK: Final = "FlinkDeployment"
_POOL: Final = "KafkaNodePool"
SIZES: Final = {
    f"{job}.{name}": (_FLINK, f"streamflow-{job}", path)
    for job in ("detect", "archive")
    for name, path in {
        "parallelism": "spec.job.parallelism",
        "taskManager.cpu": "spec.taskManager.resource.cpu",
        "taskManager.memory": "spec.taskManager.resource.memory",
    }.items()
} | {
    "kafka.brokers": (_POOL, "broker", "spec.replicas"),
    "kafka.cpu": (_POOL, "broker", "spec.resources.requests.cpu"),
    "kafka.memory": (_POOL, "broker", "spec.resources.requests.memory"),
    "kafka.memoryLimit": (_POOL, "broker", "spec.resources.limits.memory"),
    "kafka.storage": (_POOL, "broker", "spec.storage.volumes.0.size"),
    "kafka.storageClass": (_POOL, "broker", "spec.storage.volumes.0.class"),
    "kafka.controllerStorage": (_POOL, "controller", "spec.storage.volumes.0.size"),
    "kafka.controllerStorageClass": (_POOL, "controller", "spec.storage.volumes.0.class"),
    "api.minReplicas": ("HorizontalPodAutoscaler", "streamflow-api", "spec.minReplicas"),
    "api.maxReplicas": ("HorizontalPodAutoscaler", "streamflow-api", "spec.maxReplicas"),
    "quota.cpu": ("ResourceQuota", "streamflow", "spec.hard.requests.cpu"),
    "quota.memory": ("ResourceQuota", "streamflow", "spec.hard.requests.memory"),
    "quota.memoryLimit": ("ResourceQuota", "streamflow", "spec.hard.limits.memory"),
    "secretStore.name": ("SecretStore", "aws", "metadata.name"),
}  # fmt: skip
"""Value of the chart to kind, name and path of the field that it sets."""
INGRESS: Final = """\
{{- if .Values.ingress.enabled }}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: streamflow-api
  namespace: streamflow
  annotations: {{- toYaml .Values.ingress.annotations | nindent 4 }}
spec:
  ingressClassName: {{ .Values.ingress.className | quote }}
  tls:
    - hosts: [{{ required "ingress.host is needed" .Values.ingress.host | quote }}]
      secretName: {{ .Values.ingress.tlsSecret | quote }}
  rules:
    - host: {{ .Values.ingress.host | quote }}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: streamflow-api
                port:
                  name: PORT
{{- end }}
"""


def write_chart(folder: Path, overlay: str = OVERLAY) -> None:
    """Write the chart of an overlay.

    Args:
        folder: of the chart; an earlier one is replaced.
        overlay: a folder of ``k8s/overlays``.

    Raises:
        LookupError: the manifests lack an object or a field of ``SIZES``.
    """
    values: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "k8s"
        shutil.copytree(K8S, copy, ignore=shutil.ignore_patterns("images"))
        _mark_overlay(copy / "overlays" / overlay, values)
        manifests = build(copy / "overlays" / overlay)
    for value, (kind, name, path) in SIZES.items():
        _mark_field(manifests, value, (kind, name, path), values)
    _use_store(manifests)
    manifests = _name_settings(manifests, build(K8S / "overlays" / overlay), values)
    _put(
        values,
        "ingress",
        {"enabled": False, "className": "", "host": "", "tlsSecret": "streamflow-api-tls", "annotations": {}},
    )
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "templates").mkdir(parents=True)
    version = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]
    chart = {
        "apiVersion": "v2", "name": "streamflow", "type": "application", "version": version, "appVersion": version,
        "description": "Real-time card-fraud detection on Apache Flink", "kubeVersion": ">=1.30.0-0",
    }  # fmt: skip
    (folder / "Chart.yaml").write_text(yaml.safe_dump(chart, sort_keys=False))
    (folder / "values.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    for kind in sorted({item["kind"] for item in manifests}):
        mine = [item for item in manifests if item["kind"] == kind]
        (folder / "templates" / f"{kind.lower()}.yaml").write_text("---\n".join(map(template, mine)))
    (folder / "templates" / "ingress.yaml").write_text(INGRESS.replace("PORT", _port(manifests)))


def _mark_overlay(folder: Path, values: dict[str, Any]) -> None:
    """Replace the values of a copied overlay's ``platform.env`` and images by marks."""
    path = folder / "platform.env"
    lines = []
    for line in path.read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            _put(values, f"platform.{name}", value)
            lines.append(f"{name}={_mark(f'platform.{name}')}")
    path.write_text("\n".join(lines) + "\n")
    path = folder / "kustomization.yaml"
    document = yaml.safe_load(path.read_text())
    for image in document["images"]:
        name = image["name"].rpartition("/")[2]
        ending = f"@{image['digest']}" if "digest" in image else f":{image['newTag']}"
        _put(values, f"images.{name}", f"{image['newName']}{ending}")
        image.clear()
        image |= {"name": f"streamflow/{name}", "newName": f"mark.images.{name}.kram"}
    path.write_text(yaml.safe_dump(document))


def _mark(value: str) -> str:
    return f"MARK.{value}.KRAM"


def _put(values: dict[str, Any], name: str, value: object) -> None:
    *folders, last = name.split(".")
    for folder in folders:
        values = values.setdefault(folder, {})
    values[last] = value


def _mark_field(manifests: list[Manifest], value: str, field: tuple[str, str, str], values: dict[str, Any]) -> None:
    """Put a mark into a field of an object, and its content into the values."""
    kind, name, path = field
    found = [item for item in manifests if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    if len(found) != 1:
        raise LookupError(f"the manifests have {len(found)} objects {kind}/{name}, which sets {value}")
    part: Any = found[0]
    *steps, last = _steps(path)
    for step in steps:
        part = part[step]
    _put(values, value, part[last])
    part[last] = _mark(value)


def _steps(path: str) -> Iterator[str | int]:
    """Yield the keys of a path; names of quotas and limits have a dot of their own."""
    text = path.replace("hard.requests.", "hard.requests/").replace("hard.limits.", "hard.limits/")
    for step in text.split("."):
        yield int(step) if step.isdigit() else step.replace("/", ".")


def _use_store(manifests: list[Manifest]) -> None:
    """Let every ExternalSecret read from the store of the values."""
    for item in manifests:
        reference = item.get("spec", {}).get("secretStoreRef", {}) if item["kind"] == "ExternalSecret" else {}
        if reference.get("name") == "aws":
            reference["name"] = _mark("secretStore.name")


def _name_settings(marked: list[Manifest], real: list[Manifest], values: dict[str, Any]) -> list[Manifest]:
    """Make the name of the settings a value: Kustomize adds a digest of their content, so a change restarts pods."""
    names = [
        next(
            item["metadata"]["name"] for item in manifests if name_of(item).startswith("ConfigMap/streamflow-settings-")
        )
        for manifests in (marked, real)
    ]
    _put(values, "settings.name", names[1])
    text = yaml.safe_dump_all(marked, sort_keys=False, width=100_000)
    return list(yaml.load_all(text.replace(names[0], _mark("settings.name")), yaml.CSafeLoader))


def _port(manifests: list[Manifest]) -> str:
    service = next(item for item in manifests if name_of(item) == "Service/streamflow-api")
    return str(service["spec"]["ports"][0]["name"])


def template(manifest: Manifest) -> str:
    """Return the template of one object."""
    if manifest["kind"] == "Job":
        manifest = {**manifest, "metadata": {**manifest["metadata"]}}
        manifest["metadata"]["annotations"] = {**manifest["metadata"].get("annotations", {}), **HOOK}
    text = yaml.safe_dump(manifest, sort_keys=False, width=100_000, allow_unicode=True)
    text = re.sub(r"mark\.images\.(\w+)\.kram", lambda found: _mark(f"images.{found[1]}"), text)
    # Braces of Prometheus and Grafana stay as they are.
    text = re.sub(r"\{\{|\}\}", lambda found: '{{ "' + found[0] + '" }}', text)
    # A mark that is a whole value keeps its type; JSON's scalars are YAML.
    text = re.sub(
        rf"(: |- ){_MARK.pattern}$",
        lambda found: f"{found[1]}{{{{ {_path(found[2])} | toJson }}}}",
        text,
        flags=re.MULTILINE,
    )
    return _MARK.sub(lambda found: f"{{{{ {_path(found[1])} }}}}", text)


def _path(value: str) -> str:
    return f".Values.{value}"


def main() -> None:
    """Write the chart, and print where it is."""
    write_chart(FOLDER)
    sys.stdout.write(f"{FOLDER.relative_to(REPO)}: values of the overlay {OVERLAY}, which you override with --values\n")


def without_hooks(manifest: Mapping[str, Any]) -> Manifest:
    """Return a rendered object without Helm's own annotations."""
    metadata = dict(manifest["metadata"])
    kept = {name: value for name, value in metadata.get("annotations", {}).items() if not name.startswith("helm.sh/")}
    metadata.pop("annotations", None)
    return {**manifest, "metadata": {**metadata, **({"annotations": kept} if kept else {})}}


if __name__ == "__main__":
    main()
