"""Uses the features that a folder keeps for a card file, and replays the file where there are none (``--cache``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flink_jobs.cli.cache_folder import cache_in
from flink_jobs.cli.output import say
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.reasons import DeadLetterReason

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from pathlib import Path

    from flink_jobs.cli.file_state import CardFileState
    from flink_jobs.core.own_features.loading import OwnFeatures
    from flink_jobs.core.own_features.values import OwnValues
    from ml.dataset import Dataset
    from ml.feature_cache import FeatureCache


class Replayed(NamedTuple):
    """The result of a replay."""

    dataset: Dataset
    rejected: Counter[str]
    """Number of rejected rows by reason."""


class CachedReplay:
    """A card file with the folder that keeps its features."""

    def __init__(self, folder: Path, state: CardFileState, *, skip_bad_rows: bool) -> None:
        """Take the options of the command.

        Args:
            folder: folder of the cache.
            state: the card file and its mapping.
            skip_bad_rows: whether rows that cannot be read are skipped.
        """
        self._folder, self._state, self._skip_bad_rows = folder, state, skip_bad_rows

    def rows(
        self,
        config: DetectionConfig | None,
        own: OwnValues | None,
        now_ms: int,
        read: Callable[[Callable[[str], None]], Replayed],
    ) -> Dataset:
        """Return the rows from the cache, or replay the file and keep its rows.

        Args:
            config: the rules that score the rows; None: the rules that a job starts with.
            own: the own features.
            now_ms: the clock, UTC milliseconds.
            read: replays the file, and checks that it did not change; gets a function for lines about rows that are
                left out.

        Raises:
            UserError: the folder cannot be used, or the file cannot be replayed.
        """
        from ml.feature_cache import CardFile, FeatureCache, cache_key

        features = None if own is None else own.features
        state = self._state
        source = CardFile(
            state.path.name, state.sha256, state.mapping_sha256, self._skip_bad_rows, config or DetectionConfig()
        )
        cache = cache_in(self._folder, FeatureCache)
        key = cache_key(source, features)
        found = _found(cache, key, features, now_ms)
        if found is not None:
            return found
        notes: list[str] = []

        def report(line: str) -> None:
            say(line)
            notes.append(line)

        replayed = read(report)
        self._keep(cache, key, replayed, notes)
        return replayed.dataset

    def _keep(self, cache: FeatureCache, key: str, replayed: Replayed, notes: list[str]) -> None:
        """Keep the rows, unless a later replay could give others; report either."""
        if replayed.rejected[DeadLetterReason.EVENT_TIME_IN_FUTURE]:
            say("The features are not kept: rows in the future were left out, and the time when they count will come.")
        elif len(replayed.dataset):
            try:
                say(f"Features are kept in {cache.write(key, replayed.dataset, notes)}")
            except OSError as error:
                say(f"Warning: the features cannot be kept in {self._folder} ({error.strerror or error}).")


def _found(cache: FeatureCache, key: str, features: OwnFeatures | None, now_ms: int) -> Dataset | None:
    from ml.kept_files import DamagedCacheError

    try:
        found = cache.read(key, features, now_ms)
    except DamagedCacheError as error:
        say(f"Warning: {error}. The file is replayed again.")
        return None
    if found is None:
        return None
    say(f"{len(found.dataset):,} rows from the feature cache: {found.path}")
    for note in found.notes:
        say(note)
    return found.dataset
