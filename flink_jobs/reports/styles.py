"""The style sheet that the reports and the console share: one source of colours, text, tables, bars and charts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SHARED: Final = Path(__file__).with_name("shared.css").read_text(encoding="utf-8")
"""CSS without addresses: a report has it inside, the console serves it as a file."""
