"""Scores the judged rows again under named changes of the world: what a model does when its inputs move."""
