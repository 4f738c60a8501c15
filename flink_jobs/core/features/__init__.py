"""The features of a transaction: their table (unit, range, value without history) and their computation."""
