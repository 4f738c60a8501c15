"""The features of a transaction: the table of features (unit, range, value without history) and their computation."""
