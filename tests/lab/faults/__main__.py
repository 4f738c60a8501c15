"""Entry point of ``python -m tests.lab.faults``, which ``make faults`` runs."""

import sys

from tests.lab.faults.fault_command import main

if __name__ == "__main__":
    sys.exit(main())
