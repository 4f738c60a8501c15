"""Clients of a Flink cluster: the REST API, ``flink run``, and a savepoint reader that needs no JVM."""
