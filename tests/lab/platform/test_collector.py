"""The collector's values fit the schema of the log lines; the collector itself was not run."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

import orjson
import yaml

from flink_jobs.logs import CONTEXT, JsonFormatter
from tests.lab.platform.k8s_manifests import K8S

VALUES: dict[str, Any] = yaml.safe_load((K8S / "collector" / "values.yaml").read_text())
CONFIG: dict[str, Any] = VALUES["config"]


def test_every_part_of_the_pipeline_is_defined_and_used() -> None:
    (pipeline,) = CONFIG["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) == set(CONFIG[kind])


def test_the_fields_that_the_collector_reads_are_those_of_a_line() -> None:
    token = CONTEXT.set({"request_id": "r", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})
    line = JsonFormatter("api").format(logging.LogRecord("api", logging.INFO, "x.py", 1, "text", None, None))
    CONTEXT.reset(token)
    document = orjson.loads(line)
    parsers = {item["id"]: item for item in CONFIG["receivers"]["filelog"]["operators"]}
    places = [parsers["line"][part]["parse_from"] for part in ("timestamp", "severity")]
    places.append(parsers["trace"]["trace_id"]["parse_from"])
    assert {place.removeprefix("attributes.") for place in places} <= document.keys()
    assert datetime.fromisoformat(document["timestamp"]).utcoffset() is not None
    assert "\n" not in line


def test_the_collector_reads_the_pods_of_our_namespace_without_changing_the_node() -> None:
    assert CONFIG["receivers"]["filelog"]["include"] == ["/var/log/pods/streamflow_*/*/*.log"]
    assert all(mount["readOnly"] for mount in VALUES["extraVolumeMounts"])
    assert {mount["name"] for mount in VALUES["extraVolumeMounts"]} == {item["name"] for item in VALUES["extraVolumes"]}
