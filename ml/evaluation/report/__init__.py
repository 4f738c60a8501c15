"""The reports of an evaluation: an HTML page and a model card."""
