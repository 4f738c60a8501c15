"""The fraud detector itself, free of any engine: bytes and state in, outcomes and state out.

Nothing here imports Flink, Kafka, a database or a clock; an import contract holds that. Everything runs inside a
JVM-embedded interpreter too, so only the standard library, numpy and orjson are allowed.
"""
