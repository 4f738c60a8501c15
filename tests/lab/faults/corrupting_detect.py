"""The detector over a state backend that damages about one write in fifty, chosen by a checksum of the bytes."""

import zlib
from dataclasses import replace
from typing import Any

from flink_jobs.job.detector import topology
from flink_jobs.job.detector.batch_runner import BatchRunner
from flink_jobs.job.detector.operator import FraudDetectorFunction
from flink_jobs.job.detector.operator_settings import DetectorSettings

DAMAGE_EVERY = 50


def damaged(blob: bytes) -> bytes:
    """Return a state, in some cases with one bit flipped."""
    if zlib.crc32(blob) % DAMAGE_EVERY:
        return blob
    at = len(blob) // 2
    return blob[:at] + bytes([blob[at] ^ 0x10]) + blob[at + 1 :]


class DamagingRunner(BatchRunner):
    """The runner of the batched crossing, with damage in some of the states that it gives to Java."""

    def dump(self, state: bytes) -> bytes:
        """Return a state as PyFlink stores it, sometimes with one bit flipped."""
        return super().dump(damaged(state))


class DamagingState:
    """Keyed state that flips one bit in some of the values written to it."""

    def __init__(self, state: Any) -> None:  # noqa: ANN401 - PyFlink's, untyped
        """Wrap the real state."""
        self._state = state
        self.value = state.value

    def update(self, blob: bytes) -> None:
        """Write a value, sometimes with one bit flipped."""
        self._state.update(damaged(blob))


class CorruptingDetector(FraudDetectorFunction):
    """The shipped detector on damaged state; it reads the state for every event, so that it finds the damage."""

    runner_type = DamagingRunner

    def __init__(self, settings: DetectorSettings) -> None:
        """Turn off the cache of decoded states."""
        super().__init__(replace(settings, state_cache_customers=0))

    def open(self, runtime_context: Any) -> None:  # noqa: ANN401 - PyFlink's, untyped
        """Open the detector, then wrap its state."""
        super().open(runtime_context)
        self._state = DamagingState(self._state)


if __name__ == "__main__":
    from flink_jobs.job.detect import JOB_NAME, main
    from flink_jobs.job.environment import run

    topology.FraudDetectorFunction = CorruptingDetector  # type: ignore[attr-defined]
    run(main, JOB_NAME)
