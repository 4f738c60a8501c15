"""Savepoints read without a JVM: what is in them, whose statistics, and whether a job can go on from them."""
