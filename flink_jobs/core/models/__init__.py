"""Models in the job: load an artifact, score a transaction, explain a score, and disable a model that fails."""
