"""The detector over a state backend that damages about one write in fifty, chosen by a checksum of the bytes."""

import zlib
from dataclasses import replace
from typing import Any

from flink_jobs.job.detector import topology
from flink_jobs.job.detector.operator import FraudDetectorFunction
from flink_jobs.job.detector.operator_settings import DetectorSettings

DAMAGE_EVERY = 50


class DamagingState:
    """Keyed state that flips one bit in some of the values written to it."""

    def __init__(self, state: Any) -> None:  # noqa: ANN401 - PyFlink's, untyped
        """Wrap the real state."""
        self._state = state
        self.value = state.value

    def update(self, blob: bytes) -> None:
        """Write a value, sometimes with one bit flipped."""
        if zlib.crc32(blob) % DAMAGE_EVERY == 0:
            at = len(blob) // 2
            blob = blob[:at] + bytes([blob[at] ^ 0x10]) + blob[at + 1 :]
        self._state.update(blob)


class CorruptingDetector(FraudDetectorFunction):
    """The shipped detector on damaged state; it reads the state for every event, so that it finds the damage."""

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
