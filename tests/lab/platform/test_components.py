"""Production with every optional component at once, as ``make cluster-check`` applies it to an API server."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import yaml

from tests.lab.platform.argo_waves import stuck
from tests.lab.platform.k8s_manifests import COMPONENTS, K8S, OVERLAYS, Manifest, kubeconform, name_of
from tests.lab.platform.manifest_policies import complaints
from tests.lab.platform.test_manifests import overspent

PARTS = {"platform", "flink-common"}
"""Components that every overlay has, or that the base has."""
OF_STAGING = {"test-traffic"}


def test_every_component_is_checked() -> None:
    """A new component is in ``COMPONENTS``, or an overlay has it already."""
    made = {path.parent.name for path in (K8S / "components").glob("*/kustomization.yaml")}
    assert made == {*COMPONENTS} | PARTS | OF_STAGING
    texts = "".join((K8S / "overlays" / name / "kustomization.yaml").read_text() for name in OVERLAYS)
    assert all(f"components/{name}\n" in texts for name in OF_STAGING | {"platform"})


def test_all_components_together_are_valid_in_order_and_within_the_quota(
    everything: list[Manifest], schemas: Path
) -> None:
    assert kubeconform(everything, schemas) == complaints(everything) == stuck(everything) == []
    assert overspent(everything) == {}
    names = Counter((name_of(item), item["metadata"].get("namespace")) for item in everything)
    assert [name for name, count in names.items() if count > 1] == []


def test_the_short_forms_are_a_part_of_make_test() -> None:
    makefile = (K8S.parent / "Makefile").read_text()
    part = makefile.partition("CLUSTER_SHORT := ")[2].partition("PLATFORM_SHORT")[0]
    files = [f"test_{name}" for name in re.findall(r"\w+\.py", part)]
    assert len(files) > 5
    assert [name for name in [*files, "test_terraform.py"] if not (Path(__file__).parent / name).exists()] == []
    jobs = yaml.safe_load((K8S.parent / ".github/workflows/ci.yml").read_text())["jobs"]
    run = "".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    assert "make cluster-check" in run
    assert "make platform-check" in run
