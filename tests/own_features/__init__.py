"""An example module of own features, as a user writes it."""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
EXAMPLE: Final = "my_bank.features"
