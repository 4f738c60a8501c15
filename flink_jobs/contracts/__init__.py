"""The contracts of every Kafka topic: one YAML file per topic, its JSON Schemas beside it."""
