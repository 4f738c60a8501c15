"""What people read of an evaluation: a page that opens offline, and a model card."""
