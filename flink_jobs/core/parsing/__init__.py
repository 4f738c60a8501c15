"""Parses the bytes of a Kafka record: a transaction, or the reason why it is rejected."""
