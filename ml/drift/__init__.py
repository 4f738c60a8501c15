"""Drift: does the data still resemble the data that the model was measured on? Distances, thresholds and a verdict."""
