"""Runs in the streaming environment: starts a Postgres with decided card transactions and a database for Airflow.

``python -m tests.orchestration.prepare HOME`` starts it, ``... HOME stop`` ends it and deletes everything.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
from itertools import islice
from pathlib import Path

import psycopg

from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.model import load_model, model_directory
from flink_jobs.local.stack import Stack
from tests.integration.decided_cards import archive, decide
from tests.integration.jobs import CARD_FILE, CARD_MAPPING

EVENTS = 4_000
TRAINED_ON = 2_000
"""Number of rows of the card file that train the model; the model scores these and the later rows."""


def train(folder: Path) -> Path:
    """Train a small model on the beginning of the card file; return its directory."""
    folder.mkdir()
    cards = folder / "cards.csv"
    with gzip.open(CARD_FILE, "rt") as file:
        cards.write_text("".join(islice(file, TRAINED_ON + 1)))
    command = [sys.executable, "-m", "flink_jobs.cli", "train", "--data", str(cards), "--mapping", str(CARD_MAPPING)]
    subprocess.run([*command, "--trees", "10", "--out", str(folder)], check=True, capture_output=True)
    return model_directory(folder)


def main(home: Path, *, stop: bool) -> None:
    """Start Postgres and fill it, or stop it."""
    stack = Stack(home)
    if stop:
        stack.down(wipe=True)
        return
    settings = stack.up(["postgres"])
    model = load_model(train(home / "models"), FEATURE_NAMES)
    archive(settings.postgres_dsn_as("writer"), decide(EVENTS, model=model))
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE airflow")


if __name__ == "__main__":
    main(Path(sys.argv[1]), stop="stop" in sys.argv[2:])
