"""The steps of k8s/upgrade.sh that call a cluster, with the real kubectl and the permissions of the deploy workflow.

There are no nodes and no operator; the tests write the status that they would write. ``make cluster-check`` runs this.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.flink.jobs import JOBS, OPTIONAL_JOBS
from flink_jobs.waiting import wait_for
from tests.lab.platform.applied import NAMESPACE, Applied
from tests.lab.platform.control_plane import PROGRAMS
from tests.lab.platform.k8s_manifests import BIN, K8S, REPO, Manifest, add_component, build, of_kind, tool

LIMIT_S = 120.0
GROUP = "streamflow-deploy"
SNAPSHOTS = {"apiVersion": "flink.apache.org/v1beta1", "kind": "FlinkStateSnapshot"}
PODS = {"apiVersion": "v1", "kind": "Pod"}

pytestmark = pytest.mark.parametrize("applied", ["staging"], indirect=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of k8s/ with images by digest and the lake job in staging, and the tools."""
    shutil.copytree(K8S, tmp_path / "k8s")
    (tmp_path / ".tools").mkdir()
    (tmp_path / ".tools" / "bin").symlink_to(BIN)
    overlay = tmp_path / "k8s" / "overlays" / "staging"
    add_component(overlay, "lake")
    images = [f"streamflow/{name}=example.org/{name}@sha256:{'a' * 64}" for name in ("job", "tools")]
    subprocess.run([tool("kustomize"), "edit", "set", "image", *images], cwd=overlay, check=True)
    return tmp_path


Started = subprocess.Popen[str]


@pytest.fixture
def kubeconfig(tmp_path: Path, applied: Applied) -> Path:
    """Return a kubeconfig file with the permissions of the deploy workflow."""
    config = json.loads(applied.kubeconfig.read_text())
    config["users"][0]["user"] |= {"as": "deploy", "as-groups": [GROUP]}
    path = tmp_path / "kubeconfig.json"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def start(checkout: Path, kubeconfig: Path) -> Iterator[Callable[[str], Started]]:
    """Yield a function that starts a step as the deploy workflow does; the fixture ends the step after the test."""
    given = {
        "KUBECONFIG": str(kubeconfig),
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "OVERLAY": "k8s/overlays/staging",
    }
    running = list[Started]()

    def begin(step: str) -> Started:
        running.append(
            subprocess.Popen(
                [checkout / "k8s" / "upgrade.sh", step],
                cwd=checkout,
                env=os.environ | given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def _appeared(applied: Applied, process: Started, kind: dict[str, str], prefix: str) -> Manifest:
    """Return the object that the step creates; fail with the step's output if it ends before."""

    def look() -> Manifest | None:
        assert process.poll() is None, process.communicate()
        items = applied.api.list(kind | {"metadata": {"namespace": NAMESPACE}})
        return next((item | kind for item in items if item["metadata"]["name"].startswith(prefix)), None)

    return wait_for(look, limit_s=LIMIT_S, what=f"{kind['kind']} {prefix}")


def test_the_savepoint_step_requests_a_savepoint_and_prints_its_path(
    applied: Applied, start: Callable[[str], Started]
) -> None:
    step = start("savepoint")
    snapshot = _appeared(applied, step, SNAPSHOTS, "before-upgrade-")
    assert snapshot["spec"]["jobReference"] == {"kind": "FlinkDeployment", "name": "streamflow-detect"}
    response = applied.api.set_status(snapshot, {"state": "COMPLETED", "path": "s3://bucket/savepoint-1"})
    assert not response.error
    out, error = step.communicate(timeout=LIMIT_S)
    assert step.returncode == 0, error
    assert out.splitlines()[-1] == "s3://bucket/savepoint-1"
    applied.api.delete(snapshot)


def test_the_savepoint_step_reports_a_failed_savepoint_at_once(
    applied: Applied, start: Callable[[str], Started]
) -> None:
    step = start("savepoint")
    snapshot = _appeared(applied, step, SNAPSHOTS, "before-upgrade-")
    assert not applied.api.set_status(snapshot, {"state": "FAILED", "error": "the storage refuses"}).error
    error = step.communicate(timeout=LIMIT_S)[1]
    assert step.returncode == 1
    assert "is FAILED: the storage refuses" in error
    applied.api.delete(snapshot)


def _observed(applied: Applied, deployment: Manifest, **status: object) -> None:
    generation = applied.api.get(deployment).body["metadata"]["generation"]
    response = applied.api.set_status(deployment, status | {"observedGeneration": generation})
    assert not response.error


def _workloads(manifests: list[Manifest]) -> list[Manifest]:
    return [*of_kind(manifests, "FlinkDeployment"), *of_kind(manifests, "Deployment")]


@pytest.fixture
def stable_jobs(applied: Applied) -> Iterator[None]:
    """Set the jobs to STABLE before the test, and restore the workloads to the overlay's state after it."""
    for deployment in of_kind(applied.manifests, "FlinkDeployment"):
        _observed(applied, deployment, lifecycleState="STABLE")
    yield
    for workload in _workloads(applied.manifests):
        assert not applied.api.apply(workload).error


def _is_over_while_pods_become_ready(applied: Applied, step: Started) -> bool:
    """Report every pod of a Deployment as ready, as the kubelet does; return whether the step has ended."""
    for pod in applied.api.list(PODS | {"metadata": {"namespace": NAMESPACE}}):
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        applied.api.set_status(PODS | {"metadata": pod["metadata"]}, ready)
    return step.poll() is not None


@pytest.mark.usefixtures("stable_jobs")
def test_the_wait_step_waits_for_every_job_and_deployment(
    applied: Applied, start: Callable[[str], Started], checkout: Path
) -> None:
    step = start("wait")
    manifests = build(checkout / "k8s" / "overlays" / "staging")
    upgraded = of_kind(manifests, "FlinkDeployment")
    names = {item["metadata"]["name"] for item in upgraded}
    assert {f"streamflow-{job}" for job in JOBS} < names  # and at least one optional job
    assert names <= {f"streamflow-{job}" for job in (*JOBS, *OPTIONAL_JOBS)}
    for workload in _workloads(manifests):
        assert not applied.api.apply(workload).error
    # All jobs have the new image, but STABLE is still the status of the old one; the step must not accept it.
    for deployment in (item for item in upgraded if item["metadata"]["name"] != "streamflow-lake"):
        with pytest.raises(subprocess.TimeoutExpired):
            step.wait(timeout=3)
        _observed(applied, deployment, lifecycleState="STABLE")
    lake = next(item for item in upgraded if item["metadata"]["name"] == "streamflow-lake")
    with pytest.raises(subprocess.TimeoutExpired):
        step.wait(timeout=3)
    _observed(applied, lake, lifecycleState="STABLE")
    # No pod is ready; the step must not end with the jobs.
    with pytest.raises(subprocess.TimeoutExpired):
        step.wait(timeout=3)
    wait_for(lambda: _is_over_while_pods_become_ready(applied, step), limit_s=LIMIT_S, what="the step to end")
    error = step.communicate(timeout=LIMIT_S)[1]
    assert step.returncode == 0, error
    applied.api.delete(lake)


@pytest.mark.parametrize(("phase", "code"), [("Succeeded", 0), ("Failed", 1)])
def test_the_smoke_step_ends_with_the_result_of_its_pod(
    applied: Applied, start: Callable[[str], Started], phase: str, code: int
) -> None:
    step = start("smoke")
    pod = _appeared(applied, step, PODS, "smoke-")
    ended: dict[str, Any] = {"phase": phase}
    assert not applied.api.set_status(pod, ended).error
    error = step.communicate(timeout=LIMIT_S)[1]
    assert step.returncode == code, error
    assert ("does not reconcile" in error) == bool(code)
    applied.api.delete(pod)


def test_the_admin_script_runs_a_command_in_a_pod_with_the_owners_login(applied: Applied) -> None:
    given = {"KUBECONFIG": str(applied.kubeconfig), "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "USER": "ada"}
    script = [str(K8S / "admin.sh"), "dlq", "list", "--since", "1h"]
    with subprocess.Popen(
        script, env=os.environ | given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        pod = _appeared(applied, run, PODS, "admin-")
        (container,) = pod["spec"]["containers"]
        assert container["args"] == ["dlq", "list", "--since", "1h"]
        assert {"name": "USER", "value": "ada"} in container["env"]
        ended: dict[str, Any] = {
            "name": "admin",
            "state": {"terminated": {"exitCode": 3}},
            "image": "x",
            "imageID": "x",
        }
        ended |= {"ready": False, "restartCount": 0}
        assert not applied.api.set_status(pod, {"phase": "Failed", "containerStatuses": [ended]}).error
        error = run.communicate(timeout=LIMIT_S)[1]
    assert run.returncode == 3, error
    applied.api.delete(pod)


def test_the_workflow_may_not_change_a_job(applied: Applied, kubeconfig: Path) -> None:
    delete = ["--namespace", NAMESPACE, "delete", "flinkdeployment/streamflow-detect"]
    done = subprocess.run(
        [PROGRAMS / "kubectl", "--kubeconfig", kubeconfig, *delete], capture_output=True, text=True, check=False
    )
    assert "cannot delete resource" in done.stderr
    assert not applied.api.get(of_kind(applied.manifests, "FlinkDeployment")[0]).error


def test_terraform_gives_the_workflow_the_group_of_the_role_binding(applied: Applied) -> None:
    binding = next(item for item in of_kind(applied.manifests, "RoleBinding") if item["metadata"]["name"] == GROUP)
    assert [item["name"] for item in binding["subjects"]] == [GROUP]
    module = (REPO / "terraform" / "modules" / "observability" / "main.tf").read_text()
    assert f'kubernetes_groups = ["{GROUP}"]' in module
