"""`python -m tests.lab.faults`, or `make faults`."""

import sys

from tests.lab.faults.fault_command import main

if __name__ == "__main__":
    sys.exit(main())
