"""Entry point of ``python -m tests.lab.benchmarks``, which ``make bench`` runs."""

import sys

from tests.lab.benchmarks.bench_command import main

if __name__ == "__main__":  # the latency part starts processes that import this module again
    sys.exit(main())
