"""The contracts of the Kafka topics: one YAML file per topic, JSON Schemas, access rights and operator uids."""
