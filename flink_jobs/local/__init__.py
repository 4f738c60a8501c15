"""The local stack: Postgres, Kafka and a Flink cluster as plain processes, without containers."""
