"""Imports boosted trees of other libraries: their files become the arrays that the detector evaluates."""
