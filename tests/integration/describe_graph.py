"""Builds the job graphs through the Java gateway without running them and prints their operators as JSON.

It is a separate process, because the gateway starts a JVM that lives as long as the process.
"""

import sys
from typing import Any

import orjson
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway

from flink_jobs.job import archive, detect, lake, merchants
from flink_jobs.job.detector.topology import build_detector
from flink_jobs.job.environment import stream_environment
from flink_jobs.job.pin import transformations
from flink_jobs.settings import Settings, load_settings


def build(job: str, settings: Settings) -> StreamExecutionEnvironment:
    """Return an environment with the graph of a job, as the words behind its name say: mode, crossing, entities."""
    if job.endswith("process mode"):
        settings = settings.model_copy(update={"execution_mode": "process"})
    if job.endswith("single crossing"):
        settings = settings.model_copy(update={"crossing": "single"})
    if job.endswith("with merchants"):
        settings = settings.model_copy(update={"risk_entities": "merchant"})
    if job.startswith("merchants"):
        entities = "merchant,terminal,device,card" if "every entity" in job else "merchant"
        settings = settings.model_copy(update={"risk_entities": entities})
    env, t_env = stream_environment(settings, jars=lake.lake_jars(settings.lake_jars) if job == "lake" else ())
    if job.startswith("detect"):
        build_detector(env, t_env, detect.wiring(settings), detect.detector_settings(settings))
    elif job == "lake":
        lake.build_lake(env, t_env, settings)
    elif job.startswith("merchants"):
        merchants.build_merchants(env, t_env, settings)
    else:
        archive.build_archive(env, t_env, settings)
    return env


def describe(env: StreamExecutionEnvironment) -> dict[str, list[dict[str, Any]]]:
    """Return our transformations and the operators that Flink creates from them."""
    given = [
        {"kind": item.getClass().getSimpleName(), "uid": item.getUid(), "name": item.getName()}
        for item in transformations(env)
    ]
    nodes = env._j_stream_execution_environment.getStreamGraph().getStreamNodes().toArray()
    loader = get_gateway().jvm.java.lang.ClassLoader.getSystemClassLoader()
    operators = []
    for node in nodes:
        factory = node.getOperatorFactory()
        kind = "" if factory is None else factory.getStreamOperatorClass(loader).getSimpleName()
        operators.append({"kind": kind, "uid": node.getTransformationUID(), "name": node.getOperatorName()})
    return {"given": given, "operators": operators}


if __name__ == "__main__":
    graphs = {job: describe(build(job, load_settings())) for job in sys.argv[1:]}
    sys.stdout.write(orjson.dumps(graphs).decode())
