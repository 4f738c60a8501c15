from __future__ import annotations

import socket
import urllib.request

import pytest

from flink_jobs.errors import UserError
from flink_jobs.kafka.outgoing import Fate, Outgoing
from flink_jobs.local.ports import free_ports
from flink_jobs.metrics import catalogue
from flink_jobs.traffic.sender_metrics import TrafficMetrics


def test_what_is_sent_and_read_back_can_be_scraped() -> None:
    metrics, port = TrafficMetrics(), free_ports(1)[0]
    metrics.serve(port)
    for fate in (Fate.DECIDED, Fate.DECIDED, Fate.REJECTED):
        metrics.sending(Outgoing(b"c", b"{}", 0, fate))
    for offset, fate in enumerate((Fate.DECIDED, Fate.DECIDED, Fate.REJECTED)):
        metrics.delivered(Outgoing(b"c", b"{}", 0, fate), 0, offset)
    metrics.outcome("decided", 700.0)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    assert 'streamflow_traffic_sent_total{fate="decided"} 2.0' in lines
    assert 'streamflow_traffic_sent_total{fate="rejected"} 1.0' in lines
    assert "streamflow_traffic_send_latency_ms_count 3.0" in lines
    assert 'streamflow_traffic_outcome_latency_ms_bucket{le="500.0"} 0.0' in lines
    assert 'streamflow_traffic_outcome_latency_ms_bucket{le="1000.0"} 1.0' in lines


def test_every_metric_of_the_catalogue_is_there_and_no_other() -> None:
    found = {family.name for family in TrafficMetrics().registry.collect()}
    assert found == {catalogue.TRAFFIC_PREFIX + metric.name for metric in catalogue.TRAFFIC_METRICS}
    assert len(found) == 4


def test_a_taken_port_is_said_in_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="metrics"):
            TrafficMetrics().serve(int(taken.getsockname()[1]))
