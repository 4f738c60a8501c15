"""The state of one customer: its fields, how a transaction changes them, and their versioned bytes."""
