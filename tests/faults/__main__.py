"""`python -m tests.faults`, or `make faults`."""

import sys

from tests.faults.run import main

if __name__ == "__main__":
    sys.exit(main())
