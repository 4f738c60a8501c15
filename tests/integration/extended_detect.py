"""The detector with one more operator, which marks each decision, as a later release might have."""

from pyflink.common import Types
from pyflink.datastream import DataStream

from flink_jobs.job.detect import JOB_NAME, detector_settings, wiring
from flink_jobs.job.detector.topology import build_detector
from flink_jobs.job.environment import run, stream_environment
from flink_jobs.settings import Settings


def _mark(line: str) -> str:
    return line[:-1] + ',"extended":true}'


def _extend(decisions: DataStream) -> DataStream:
    return decisions.map(_mark, output_type=Types.STRING()).uid("test-mark").name("mark")


def main(settings: Settings) -> None:
    """Build and submit the extended job."""
    env, t_env = stream_environment(settings)
    build_detector(env, t_env, wiring(settings), detector_settings(settings), _extend)
    env.execute_async(JOB_NAME)


if __name__ == "__main__":
    run(main, JOB_NAME)
