"""Flink from outside: the REST client, and savepoints read without a JVM."""
