"""`python -m tests.lab.benchmarks`, or `make bench`."""

import sys

from tests.lab.benchmarks.run import main

if __name__ == "__main__":  # the latency part starts processes that import this again
    sys.exit(main())
