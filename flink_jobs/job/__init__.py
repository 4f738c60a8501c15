"""The Flink jobs: ``detect`` scores transactions, ``archive`` writes the results to Postgres.

``lake`` and ``merchants`` are optional. Only this package imports PyFlink. ``detector.topology`` builds the graph in
the order in which the data flows.
"""
