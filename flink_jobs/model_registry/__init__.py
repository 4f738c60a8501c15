"""The model registry: all model versions, the stage of each, and the history of stage changes with actor and reason."""
