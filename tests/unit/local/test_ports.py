"""Ports are free when chosen, and those asked for are never replaced silently."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flink_jobs.errors import UserError
from flink_jobs.local import ports
from flink_jobs.settings import REPO_ROOT


def listener(port: int = 0) -> socket.socket:
    server = socket.socket()
    server.bind((ports.HOST, port))
    server.listen()
    return server


def test_free_ports_differ_and_are_free() -> None:
    found = ports.free_ports(20)
    assert len(set(found)) == 20
    assert all(map(ports.is_free, found))
    assert not any(map(ports.is_open, found))


def test_free_ports_are_outside_the_ephemeral_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "ip_local_port_range"
    monkeypatch.setattr(ports, "_EPHEMERAL", told)
    told.write_text("30000\t60999\n")
    assert all(18_000 <= port < 30_000 for port in ports.free_ports(50))


def test_ports_in_use_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    (taken,) = ports.free_ports(1)
    monkeypatch.setattr(ports, "_below_ephemeral", lambda: range(taken, taken + 1))
    with listener(taken):
        found = ports.free_ports(3)
    assert taken not in found
    assert len(set(found)) == 3


def test_a_port_that_another_process_has_chosen_is_passed_over_before_its_server_opens_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = "from flink_jobs.local import ports; print(ports.free_ports(1)[0], flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=REPO_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        theirs = int(other.stdout.readline())
        assert ports.is_free(theirs)
        monkeypatch.setattr(ports, "_below_ephemeral", lambda: range(theirs, theirs + 1))
        assert theirs not in ports.free_ports(3)
        other.communicate("\n")
    assert ports.free_ports(1) == [theirs], "the reservation ends with the process"


@pytest.mark.parametrize("text", ["", "x", None])
def test_without_a_known_ephemeral_range_the_ports_are_free(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "ip_local_port_range"
    monkeypatch.setattr(ports, "_EPHEMERAL", told)
    if text is not None:
        told.write_text(text)
    assert all(map(ports.is_free, ports.free_ports(3)))


def test_a_port_in_use_is_seen() -> None:
    with listener() as server:
        port = server.getsockname()[1]
        assert not ports.is_free(port)
        assert ports.is_open(port)


def test_a_requested_port_in_use_is_an_error() -> None:
    with listener() as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} for kafka is in use") as error:
            ports.choose({"kafka": port}, {})
    assert str(port) in error.value.fix


def test_the_preferred_port_is_used_if_it_is_free() -> None:
    with listener() as server:
        taken = server.getsockname()[1]
        free = ports.free_ports(1)[0]
        chosen = ports.choose({"a": None, "b": None, "c": None}, {"a": taken, "b": free, "c": free})
    assert chosen["b"] == free
    assert len({*chosen.values(), taken}) == 4
