"""Models in the stream: read an artefact, score a transaction, and handle a model that fails."""
