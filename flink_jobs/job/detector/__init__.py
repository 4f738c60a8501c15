"""The parts of the detect job: topology, sources, operator and sinks."""
