"""`python -m tests.lab.soak`, or `make soak`."""

import sys

from tests.lab.soak.soak_command import main

if __name__ == "__main__":  # the reader of decisions is a process that imports this again
    sys.exit(main())
