"""The detector job: topology, sources, operator and sinks."""
