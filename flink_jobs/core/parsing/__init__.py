"""From the bytes of a Kafka record to a transaction, or to the reason why it is none."""
