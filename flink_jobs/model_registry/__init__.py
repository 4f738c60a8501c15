"""The model registry: which versions there are, at which stage, and who moved them, when and why."""
