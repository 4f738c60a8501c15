"""The detector with models that fail while they score: versions named ``raises-...``, ``nan-...`` or ``slow-...``.

Loading finds faults of an artifact, so a model that loads and fails later has to be simulated.
"""

import time

from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.lineup import Model
from flink_jobs.core.transaction import Transaction

MADE = ("raises", "nan", "slow", "wild", "steady")


def main() -> None:
    """Build and submit the job."""
    from dataclasses import replace  # noqa: PLC0415 - what travels to the TaskManager must not carry the client's world

    from flink_jobs.job.detect import JOB_NAME, detector_settings, wiring  # noqa: PLC0415
    from flink_jobs.job.detector.topology import build_detector  # noqa: PLC0415
    from flink_jobs.job.environment import run, stream_environment  # noqa: PLC0415
    from flink_jobs.settings import Settings  # noqa: PLC0415

    def submit(settings: Settings) -> None:
        env, t_env = stream_environment(settings)
        build_detector(env, t_env, wiring(settings), replace(detector_settings(settings), find_model=find_faulty))
        env.execute_async(JOB_NAME)

    run(submit, JOB_NAME)


class FaultyModel:
    """Returns the score ``answer``, or fails as its version name says."""

    kind, base, own_blend, probability = "faulty", 0.0, None, None

    def __init__(self, version: str, digest: str) -> None:
        """Set the fault from the version name."""
        self.version, self.digest = version, digest
        self._fault = version.partition("-")[0]

    def score(self, features: FeatureVector, transaction: Transaction) -> float:  # noqa: ARG002
        """Fail, or find everything suspicious or nothing."""
        if self._fault == "raises":
            raise RuntimeError("as its name says")
        if self._fault == "slow":
            time.sleep(0.03)
        return {"nan": float("nan"), "wild": 1.0}.get(self._fault, 0.25)

    def contributions(self, features: FeatureVector, transaction: Transaction) -> dict[str, float]:
        """Return a contribution for one feature."""
        return {"amount_ratio": self.score(features, transaction)}


def find_faulty(model_dir: str, store: str | None, version: str, digest: str | None) -> Model:
    """Return simulated models for version names with a fault, and load all other versions."""
    from flink_jobs.artifacts.finder import find_model  # noqa: PLC0415 - in the TaskManager

    if version.partition("-")[0] in MADE:
        return FaultyModel(version, digest or "f" * 64)
    return find_model(model_dir, store, version, digest)


if __name__ == "__main__":
    main()
