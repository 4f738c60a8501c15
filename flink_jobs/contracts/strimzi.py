"""Generates Strimzi manifests of the topics, accounts and rights, from the same contracts as the local stack.

``python -m flink_jobs.contracts.strimzi --write`` writes them below ``k8s/``; a test compares them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from flink_jobs.contracts.access import CANARY, DETECTOR_OUTPUTS, Grant, canary_prefix, grants
from flink_jobs.contracts.topic_contracts import TopicContract, load_contracts

K8S: Final = Path(__file__).resolve().parents[2] / "k8s"
PREFIX: Final = "streamflow"
REPLICAS: Final = 3
TEST_TRAFFIC: Final = "streamflow-traffic"
"""The account of ``replay`` and ``simulate``, which production does not have."""
_CLUSTER: Final = {"strimzi.io/cluster": "streamflow"}
_TYPES: Final = {"transactional_id": "transactionalId"}
_HEADER: Final = (
    "# Written by `python -m flink_jobs.contracts.strimzi --write` from flink_jobs/contracts: change it there.\n"
)

Manifest = dict[str, Any]


def topic(contract: TopicContract) -> Manifest:
    """Return the KafkaTopic of a contract; the cluster's defaults apply to all other options."""
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": contract.name, "labels": _CLUSTER},
        "spec": {"partitions": contract.partitions, "replicas": REPLICAS, "config": dict(contract.config)},
    }


def _namespaced(manifest: Manifest) -> Manifest:
    """Return a manifest with our namespace, which a component does not add."""
    manifest["metadata"]["namespace"] = "streamflow"
    return manifest


def user(account: str, rights: Iterable[Grant]) -> Manifest:
    """Return the KafkaUser of an account: SCRAM authentication and its rights. Strimzi creates the password."""
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaUser",
        "metadata": {"name": account, "namespace": "streamflow", "labels": _CLUSTER},
        "spec": {
            "authentication": {"type": "scram-sha-512"},
            "authorization": {"type": "simple", "acls": [_rule(right) for right in rights]},
        },
    }


def _rule(right: Grant) -> Manifest:
    resource: Manifest = {"type": _TYPES.get(right.resource, right.resource)}
    if right.resource != "cluster":
        resource |= {"name": right.name, "patternType": "prefix" if right.is_prefix else "literal"}
    operation = "".join(word.capitalize() for word in right.operation.split("_"))
    return {"resource": resource, "operations": [operation], "host": "*"}


def files() -> dict[Path, str]:
    """Return the text of each generated file below ``k8s/``, by path."""
    contracts = load_contracts(PREFIX)
    rights = grants(contracts, PREFIX)
    users = {
        account: user(account, [item for item in rights if item.account == account]) for account in _accounts(rights)
    }
    traffic, canary = users.pop(TEST_TRAFFIC), users.pop(CANARY)
    trial = load_contracts(canary_prefix(PREFIX))
    return {
        K8S / "base" / "kafka" / "topics.yaml": _text(topic(contract) for contract in contracts.values()),
        K8S / "base" / "kafka" / "users.yaml": _text(users.values()),
        K8S / "components" / "test-traffic" / "user.yaml": _text([traffic]),
        K8S / "components" / "canary" / "user.yaml": _text([canary]),
        K8S / "components" / "canary" / "topics.yaml": _text(
            _namespaced(topic(trial[suffix])) for suffix in DETECTOR_OUTPUTS
        ),
    }


def _accounts(rights: Iterable[Grant]) -> list[str]:
    return sorted({right.account for right in rights})


class _Plain(yaml.SafeDumper):
    """Indents lists below their key and writes no aliases, as yamllint requires."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - its own
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - its own
        return True


def _text(manifests: Iterable[Manifest]) -> str:
    return _HEADER + "---\n".join(yaml.dump(item, Dumper=_Plain, sort_keys=False) for item in manifests)


def main(arguments: list[str]) -> int:
    """Write the files, or list the files that are not up to date."""
    stale = {path: text for path, text in files().items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        if "--write" in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        sys.stdout.write(f"{path.relative_to(K8S.parent)}\n")
    return 0 if "--write" in arguments else int(bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
