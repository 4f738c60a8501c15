"""A real Kubernetes control plane without nodes: etcd, kube-apiserver and the controllers that the manifests need.

``tests/lab/bootstrap.sh cluster`` builds the programs from Kubernetes' own sources. There is no kubelet and no
scheduler: pods are created, admitted or rejected, and counted, and stay pending.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flink_jobs.local.ports import HOST, free_ports
from flink_jobs.local.process import Command, ProcessRecord, is_alive, log_tail, spawn, stop
from flink_jobs.waiting import wait_for
from tests.lab.platform.api import Api
from tests.lab.platform.k8s_manifests import REPO

PROGRAMS: Final = REPO / ".tools" / "controlplane"
# The controllers that act on StreamFlow's objects.
CONTROLLERS: Final = (
    "cronjob-controller", "deployment-controller", "job-controller", "namespace-controller", "replicaset-controller",
    "resourcequota-controller", "serviceaccount-controller",
)  # fmt: skip
START_LIMIT_S: Final = 180.0


@dataclass(frozen=True)
class Cluster:
    """A running control plane: a client and the kubeconfig file for kubectl."""

    api: Api
    kubeconfig: Path


@contextmanager
def control_plane(folder: Path) -> Iterator[Cluster]:
    """Start a control plane on free ports with its data in ``folder``; stop it at the end of the block."""
    stack, started = f"control-plane-{secrets.token_hex(4)}", list[ProcessRecord]()
    etcd, peer, port, manager = free_ports(4)
    token = secrets.token_hex(16)

    def start(name: str, *arguments: str) -> None:
        program = PROGRAMS / name
        if not program.exists():
            raise FileNotFoundError(f"{program} is missing; run `make cluster-check`, which builds it")
        log = folder / f"{name}.log"
        started.append(spawn(Command(name, [str(program), *arguments], log, os.environ, folder), stack))

    try:
        _write_keys(folder, token)
        start(
            "etcd", "--data-dir=etcd", "--unsafe-no-fsync", f"--listen-client-urls=http://{HOST}:{etcd}",
            f"--advertise-client-urls=http://{HOST}:{etcd}", f"--listen-peer-urls=http://{HOST}:{peer}",
            f"--initial-advertise-peer-urls=http://{HOST}:{peer}", f"--initial-cluster=default=http://{HOST}:{peer}",
        )  # fmt: skip
        start(
            "kube-apiserver", f"--etcd-servers=http://{HOST}:{etcd}", f"--secure-port={port}", f"--bind-address={HOST}",
            f"--advertise-address={HOST}", "--cert-dir=certificates", "--authorization-mode=RBAC",
            "--token-auth-file=tokens.csv", "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=accounts.key", "--service-account-signing-key-file=accounts.key",
            "--service-cluster-ip-range=10.0.0.0/24", "--endpoint-reconciler-type=none",
        )  # fmt: skip
        # The server writes its self-signed certificate into its folder; clients trust that file.
        authority = folder / "certificates" / "apiserver.crt"
        _await(started, authority.exists)
        api = Api(HOST, port, token, authority)
        _await(started, api.is_ready)
        kubeconfig = _write_kubeconfig(folder, api)
        start(
            "kube-controller-manager", f"--kubeconfig={kubeconfig}", f"--controllers={','.join(CONTROLLERS)}",
            "--leader-elect=false", f"--bind-address={HOST}", f"--secure-port={manager}", "--cert-dir=manager",
            "--service-account-private-key-file=accounts.key", "--concurrent-resource-quota-syncs=2",
        )  # fmt: skip
        yield Cluster(api, kubeconfig)
    finally:
        stop(started[::-1])


def _await(started: list[ProcessRecord], condition: Callable[[], bool]) -> None:
    def holds() -> bool:
        for record in started:
            if not is_alive(record):
                raise RuntimeError(f"{record.name} ended:\n{log_tail(record.log)}")
        return condition()

    wait_for(holds, limit_s=START_LIMIT_S, what=f"{started[-1].name}, whose log is {started[-1].log}")


def _write_keys(folder: Path, token: str) -> None:
    subprocess.run(["openssl", "genrsa", "-out", "accounts.key", "2048"], cwd=folder, check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f'{token},administrator,administrator,"system:masters"\n')


def _write_kubeconfig(folder: Path, api: Api) -> Path:
    path = folder / "kubeconfig.json"
    server = {"server": f"https://{api.host}:{api.port}", "certificate-authority": str(api.authority)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": server}],
        "users": [{"name": "administrator", "user": {"token": api.token}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "administrator"}}],
        "current-context": "here",
    }
    path.write_text(json.dumps(content))
    return path
