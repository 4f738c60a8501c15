"""Canary of the detector: a second job on the same transactions, compared with the running job record by record."""
