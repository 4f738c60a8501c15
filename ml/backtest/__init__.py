"""What other settings or another model would have decided, event by event, against what did."""
