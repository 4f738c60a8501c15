"""Reads recorded history from Postgres: decisions, features as served, labels, and the configuration in force."""
