"""Is the world still the one the model was measured in? Distances, thresholds and a verdict a scheduler can act on."""
