"""The writers' schemas of one parallel instance: loaded when it opens, and again every few seconds in a thread.

No record waits for the registry: a record of a schema that is not loaded becomes a dead letter, which can be redriven.
"""

import threading
from dataclasses import dataclass
from typing import Final, Self

from flink_jobs.core.parsing.avro import WriterSchemas
from flink_jobs.core.parsing.avro_nodes import Node
from flink_jobs.core.parsing.avro_resolution import resolved
from flink_jobs.job.detector.detector_metrics import DetectorMetrics
from flink_jobs.job.log import log_event
from flink_jobs.kafka.registry_access import RegistryAccess
from flink_jobs.kafka.schema_registry import RegistryError, SchemaReader
from flink_jobs.metrics import catalogue

REFRESH_S: Final = 10.0
FIRST_LOAD_S: Final = 5.0
"""Longest wait for the registry when the job opens; afterwards the job runs with the schemas known at submission."""


@dataclass(frozen=True, slots=True)
class SchemaSettings:
    """Where the schemas come from; part of the operator's settings."""

    access: RegistryAccess
    subject: str
    reader: str
    """The Avro schema of the contract, for which the writers' schemas are resolved."""
    known: tuple[tuple[int, str], ...] = ()
    """Id and text of the schemas known at submission: a restart does not need the registry for them."""


class JobSchemas:
    """Keeps the evaluator's schemas up to date."""

    def __init__(self, settings: SchemaSettings | None, metrics: DetectorMetrics) -> None:
        """Begin with the schemas known at submission."""
        self._settings = settings
        self._metrics = metrics
        self._writers = WriterSchemas()
        self.parse = self._writers.parse
        self._texts: dict[int, str] = {}
        self._nodes: dict[int, Node | str] = {}
        self._is_away = False
        self._faults = self._counted = 0
        self._stop, self._is_loaded = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> Self:
        """Load the schemas, and start the thread that loads them again."""
        if self._settings is None:
            return self
        self._use(dict(self._settings.known))
        self._thread = threading.Thread(target=self._run, args=(self._settings,), name="schemas", daemon=True)
        self._thread.start()
        self._is_loaded.wait(FIRST_LOAD_S)
        self._metrics.before_flush(self.report)
        self.report()
        return self

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(FIRST_LOAD_S)

    def report(self) -> None:
        """Pass the numbers to the metrics; the operator's thread calls this, as Flink requires."""
        self._metrics.gauge(catalogue.WRITER_SCHEMAS, len(self._nodes))
        faults = self._faults
        if faults > self._counted:
            self._metrics.count(catalogue.SCHEMA_REGISTRY_FAULTS, n=faults - self._counted)
            self._counted = faults

    def _run(self, settings: SchemaSettings) -> None:
        reader = SchemaReader(settings.access, settings.subject)
        while not self._stop.is_set():
            try:
                found = reader.read()
            except Exception as problem:  # noqa: BLE001 - the thread must live: the next round may succeed
                self._faults += 1
                if not self._is_away:
                    detail = str(problem) if isinstance(problem, RegistryError) else type(problem).__name__
                    log_event("schema_registry_away", detail=detail, schemas=len(self._nodes))
                self._is_away = True
            else:
                self._is_away = False
                self._use({**self._texts, **found})
            self._is_loaded.set()
            self._stop.wait(REFRESH_S)

    def _use(self, texts: dict[int, str]) -> None:
        """Resolve new schemas, and give all of them to the evaluator."""
        settings = self._settings
        if settings is None or texts == self._texts:
            return
        for schema_id, text in texts.items():
            if self._texts.get(schema_id) == text:
                continue
            node = self._nodes[schema_id] = resolved(text, settings.reader)
            log_event("schema_loaded", schema_id=schema_id, detail=node if isinstance(node, str) else None)
        self._texts = texts
        self._writers.use(self._nodes)
