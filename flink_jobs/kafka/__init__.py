"""Kafka clients: connection settings, errors, consumer, producer, topics, lag, and the control client."""
