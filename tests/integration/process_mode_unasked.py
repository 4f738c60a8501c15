"""The detector as if PyFlink had fallen back to process mode: the operator expects thread mode."""

from dataclasses import replace

from flink_jobs.job.detect import JOB_NAME, detector_settings, wiring
from flink_jobs.job.detector.topology import build_detector
from flink_jobs.job.environment import run, stream_environment
from flink_jobs.settings import Settings


def main(settings: Settings) -> None:
    """Build and submit the job in process mode, with an operator that expects thread mode."""
    in_process = settings.model_copy(update={"execution_mode": "process"})
    env, t_env = stream_environment(in_process)
    build_detector(env, t_env, wiring(in_process), replace(detector_settings(settings), execution_mode="thread"))
    env.execute_async(JOB_NAME)


if __name__ == "__main__":
    run(main, JOB_NAME)
