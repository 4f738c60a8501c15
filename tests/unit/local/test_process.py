"""Processes are known again by pid, start time and boot, and end with everything they started."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from flink_jobs.errors import UserError
from flink_jobs.local import process
from flink_jobs.local.process import Command, ProcessRecord
from flink_jobs.local.record import StackRecord
from flink_jobs.waiting import CancelledError, WaitTimeoutError, wait_for

SLEEP = "import time; print('ready', flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
# A child in a session of its own: nothing but the inherited environment ties it to its parent.
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True); {SLEEP}"


@pytest.fixture
def stack_id() -> Iterator[str]:
    stack_id = uuid.uuid4().hex
    yield stack_id
    process.end_leftovers(stack_id, limit_s=0)


def start(tmp_path: Path, stack_id: str, code: str, name: str = "p") -> ProcessRecord:
    log = tmp_path / f"{name}.log"
    command = Command(name, [sys.executable, "-c", code], log, {"PATH": os.defpath}, tmp_path)
    record = process.spawn(command, stack_id)
    wait_for(lambda: "ready" in log.read_text(), limit_s=120, what="the process to speak")
    return record


def test_a_process_is_identified_by_pid_start_time_and_boot(tmp_path: Path, stack_id: str) -> None:
    record = start(tmp_path, stack_id, SLEEP)
    assert process.is_alive(record)
    assert not process.is_alive(replace(record, start_ticks=record.start_ticks - 1))
    assert not process.is_alive(replace(record, boot_id="another boot"))
    assert 0 <= process.age_s(record) < 300


def test_a_signal_for_a_reused_pid_is_not_sent(tmp_path: Path, stack_id: str) -> None:
    record = start(tmp_path, stack_id, SLEEP)
    assert process.stop([replace(record, start_ticks=record.start_ticks - 1)]) == []
    assert process.is_alive(record)


def test_stop_sends_the_stop_signal_and_kills_processes_that_ignore_it(tmp_path: Path, stack_id: str) -> None:
    polite, deaf = start(tmp_path, stack_id, SLEEP, "polite"), start(tmp_path, stack_id, DEAF, "deaf")
    assert process.stop([polite, deaf], limit_s=3) == [deaf]
    assert not process.is_alive(polite)
    assert not process.is_alive(deaf)


def test_orphans_are_found_by_their_environment(tmp_path: Path, stack_id: str) -> None:
    parent = start(tmp_path, stack_id, PARENT)
    wait_for(lambda: len(process.marked(stack_id)) == 2, limit_s=120, what="the child")
    process.stop([parent])
    left = process.marked(stack_id)
    assert len(left) == 1
    assert process.end_leftovers(stack_id, limit_s=0.1) == left
    assert process.marked(stack_id) == []


def test_orphans_without_environment_are_found_by_their_session(tmp_path: Path, stack_id: str) -> None:
    """Guards a defect: Airflow's web server writes its title over its environment, and outlived the stack."""
    bare = tmp_path / "bare.pid"
    code = f"import pathlib, subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], env={{}}); "
    parent = start(tmp_path, stack_id, f"{code}pathlib.Path({str(bare)!r}).write_text(str(child.pid)); {SLEEP}")
    wait_for(bare.exists, limit_s=120, what="the child")
    child = int(wait_for(bare.read_text, limit_s=120, what="its number"))
    assert process.start_ticks(child) is not None
    process.stop([parent])
    assert process.start_ticks(child) is None


def test_a_process_that_died_at_once_is_dead(tmp_path: Path, stack_id: str) -> None:
    command = Command("p", ["/bin/sh", "-c", "echo gone; exit 1"], tmp_path / "log", {}, tmp_path)
    record = process.spawn(command, stack_id)
    wait_for(lambda: not process.is_alive(record), limit_s=120, what="its end")
    assert process.log_tail(record.log) == "gone"
    process.send(record, signal.SIGTERM)


def test_a_missing_log_has_an_empty_tail(tmp_path: Path) -> None:
    assert process.log_tail(tmp_path / "none") == ""


def test_the_record_reads_back(tmp_path: Path, stack_id: str) -> None:
    record = StackRecord.load(tmp_path / "stack.json")
    record.ports["kafka"] = 29092
    item = start(tmp_path, stack_id, SLEEP, "kafka")
    record.add(item)
    again = StackRecord.load(tmp_path / "stack.json")
    assert (again.stack_id, again.ports, again.processes) == (record.stack_id, record.ports, {"kafka": item})
    assert again.alive("kafka")
    assert not again.alive("postgres")
    again.remove("kafka", "never there")
    assert StackRecord.load(tmp_path / "stack.json").processes == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "is damaged"), ('{"version": 1}', "is damaged"), ('{"version": 99}', "newer StreamFlow")],
)
def test_a_bad_record_is_explained(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "stack.json").write_text(text)
    with pytest.raises(UserError, match=problem):
        StackRecord.load(tmp_path / "stack.json")


def test_waiting_has_a_limit_and_can_be_cancelled() -> None:
    with pytest.raises(WaitTimeoutError, match=r"waited 0 s for rain"):
        wait_for(lambda: False, limit_s=0, what="rain")
    answers = iter([False, False, True])
    assert wait_for(lambda: next(answers), limit_s=5, what="the third answer", interval_s=0)
    cancel = Event()
    cancel.set()
    with pytest.raises(CancelledError):
        wait_for(lambda: False, limit_s=5, what="rain", cancel=cancel)
