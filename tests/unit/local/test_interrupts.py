"""Whatever ends a command ends it in order."""

from __future__ import annotations

import signal

import pytest

from flink_jobs.local.interrupts import handled, interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_end_signal_is_an_interrupt_and_old_handlers_are_restored(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), handled(interrupt):
        signal.raise_signal(number)
    calls: list[str] = []
    with handled(interrupt), handled(lambda: calls.append("still stopping")):
        signal.raise_signal(number)
    assert calls == ["still stopping"]
    assert signal.getsignal(number) is before
