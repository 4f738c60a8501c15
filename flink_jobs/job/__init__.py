"""The Flink jobs: ``detect`` decides transactions, ``archive`` carries the results to Postgres.

Only this package imports PyFlink. ``topology`` reads from top to bottom as the data flows.
"""
