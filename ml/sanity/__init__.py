"""Checks whether labelled data can train and measure a model: broken data gives figures that are too good."""
