"""Models in the stream: read an artifact, score a transaction, and handle a model that fails."""
