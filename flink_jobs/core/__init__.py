"""The fraud detector without Flink: bytes and state in, outcomes and state out.

The core imports no Flink, Kafka, database or clock; an import contract enforces this. It also runs inside the Python
interpreter of Flink's JVM, so it uses only the standard library, numpy and orjson.
"""
