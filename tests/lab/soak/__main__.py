"""Entry point of ``python -m tests.lab.soak``, which ``make soak`` runs."""

import sys

from tests.lab.soak.soak_command import main

if __name__ == "__main__":  # the reader of decisions is a process that imports this module again
    sys.exit(main())
