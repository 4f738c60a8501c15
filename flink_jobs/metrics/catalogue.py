"""The catalogue: every metric's name, kind, unit, labels and meaning.

Code creates metrics only from here; dashboards and alerts may name only what is here. Flink's reporter prefixes the
names of operator metrics with ``flink_taskmanager_job_task_operator_``.

PyFlink has no histogram that can be aggregated, so histograms are counters per bucket with the label ``le``, cumulative
as Prometheus has them: ``histogram_quantile`` works on them as on any other.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from flink_jobs.core.models.slot import Role
from flink_jobs.core.reasons import DeadLetterReason, ReasonCode

FLINK_OPERATOR_PREFIX: Final = "flink_taskmanager_job_task_operator_"


class Kind(StrEnum):
    """How a metric behaves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the product."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    label: str | None = None
    buckets: tuple[float, ...] = ()
    """Upper bounds (inclusive) of a histogram, ascending; ``+Inf`` is added."""
    values: tuple[str, ...] = ()
    """Values of the label that are shown from the start, at 0: a series that begins at its first fault has no rate."""


RECORDS: Final = Metric("records", Kind.COUNTER, "records", "records taken from the transactions topic")
DECISIONS: Final = Metric("decisions", Kind.COUNTER, "decisions", "transactions decided")
ALERTS: Final = Metric("alerts", Kind.COUNTER, "alerts", "decisions at or above the alert threshold")
ALERT_REASONS: Final = Metric(
    "alert_reasons", Kind.COUNTER, "alerts", "alerts that name a reason; one alert may name several", label="reason",
    values=tuple(ReasonCode),
)  # fmt: skip
DEAD_LETTERS: Final = Metric(
    "dead_letters", Kind.COUNTER, "letters", "records set aside, duplicates and incidents included", label="reason",
    values=tuple(DeadLetterReason),
)  # fmt: skip
DEGRADED_DECISIONS: Final = Metric("degraded_decisions", Kind.COUNTER, "decisions", "decisions made without the model")
OUT_OF_ORDER: Final = Metric("out_of_order_decisions", Kind.COUNTER, "decisions", "events older than one seen before")
MODEL_FAULTS: Final = Metric(
    "model_faults", Kind.COUNTER, "faults", "models not to be loaded, that raised, answered no score or were too slow"
)
MODEL_CUT_OFFS: Final = Metric(
    "model_cut_offs", Kind.COUNTER, "models", "models no longer asked after repeated faults, by role",
    label="role", values=tuple(Role),
)  # fmt: skip
SHADOW_DECISIONS: Final = Metric("shadow_decisions", Kind.COUNTER, "decisions", "decisions the shadow model scored too")
SHADOW_ALERTS: Final = Metric("shadow_alerts", Kind.COUNTER, "decisions", "of those, what it would have alerted on")
CHALLENGER_DECISIONS: Final = Metric(
    "challenger_decisions", Kind.COUNTER, "decisions", "decisions by the challenger of an experiment"
)
CHALLENGER_ALERTS: Final = Metric("challenger_alerts", Kind.COUNTER, "alerts", "alerts among them")
EXPERIMENT_STOPS: Final = Metric(
    "experiment_stops", Kind.COUNTER, "experiments", "experiments ended by their guard, counted in each subtask"
)
CONTROL_MESSAGES: Final = Metric(
    "control_messages", Kind.COUNTER, "messages", "control messages by what became of them", label="outcome",
    values=("applied", "rejected", "duplicate"),
)  # fmt: skip
CONFIG_REVISION: Final = Metric("config_revision", Kind.GAUGE, "revision", "revision of the configuration in force")
SCORE: Final = Metric(
    "score", Kind.HISTOGRAM, "score 0-1", "distribution of scores",
    buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
)  # fmt: skip
PROCESSING_TIME_US: Final = Metric(
    "processing_time_us", Kind.HISTOGRAM, "microseconds", "time the detector took for a record, state access included",
    buckets=(25, 50, 75, 100, 150, 250, 500, 1000, 5000, 25000),
)  # fmt: skip
LATENCY_MS: Final = Metric(
    "latency_ms", Kind.HISTOGRAM, "milliseconds",
    "from Kafka's record timestamp to the decision (the commit of the output follows with the next checkpoint)",
    buckets=(5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000),
)  # fmt: skip
ALERT_LATENCY_MS: Final = Metric(
    "alert_latency_ms", Kind.HISTOGRAM, "milliseconds", "the same for every alert, where latency_ms takes a sample",
    buckets=(50, 100, 250, 500, 1000, 2000, 5000, 10000, 30000, 60000),
)  # fmt: skip
STATE_BYTES: Final = Metric(
    "state_bytes", Kind.HISTOGRAM, "bytes", "size of a customer's encoded state when written",
    buckets=(128, 256, 384, 512, 640, 768, 1024),
)  # fmt: skip

DETECTOR_METRICS: Final = (
    RECORDS, DECISIONS, ALERTS, ALERT_REASONS, DEAD_LETTERS, DEGRADED_DECISIONS, OUT_OF_ORDER, MODEL_FAULTS,
    MODEL_CUT_OFFS, SHADOW_DECISIONS, SHADOW_ALERTS, CHALLENGER_DECISIONS, CHALLENGER_ALERTS, EXPERIMENT_STOPS,
    CONTROL_MESSAGES, CONFIG_REVISION, SCORE, PROCESSING_TIME_US, LATENCY_MS, ALERT_LATENCY_MS, STATE_BYTES,
)  # fmt: skip


ARCHIVED_ROWS: Final = Metric("archived_rows", Kind.COUNTER, "rows", "rows the archive wrote to Postgres, repeats too")
REFUSED_ROWS: Final = Metric("refused_rows", Kind.COUNTER, "rows", "messages that Postgres or their contract refused")

ARCHIVE_METRICS: Final = (ARCHIVED_ROWS, REFUSED_ROWS)


TRAFFIC_PREFIX: Final = "streamflow_traffic_"
SENT: Final = Metric(
    "sent", Kind.COUNTER, "records", "records the broker has taken, by what should become of them", label="fate"
)
SEND_LATENCY_MS: Final = Metric(
    "send_latency_ms", Kind.HISTOGRAM, "milliseconds", "from handing a record to the producer to the broker's answer",
    buckets=(5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000),
)  # fmt: skip
OUTCOMES: Final = Metric(
    "outcomes", Kind.COUNTER, "records", "committed outcomes read back, by what became of the record", label="fate"
)
OUTCOME_LATENCY_MS: Final = Metric(
    "outcome_latency_ms", Kind.HISTOGRAM, "milliseconds",
    "from sending a record until its committed outcome could be read",
    buckets=(50, 100, 250, 500, 1000, 2000, 3000, 5000, 10000, 30000, 60000),
)  # fmt: skip

TRAFFIC_METRICS: Final = (SENT, SEND_LATENCY_MS, OUTCOMES, OUTCOME_LATENCY_MS)
"""Of the processes outside Flink that send traffic and watch what comes of it: replay, simulate and demo."""


MODEL_WATCH_PREFIX: Final = "streamflow_model_"
DRIFT_PSI: Final = Metric(
    "psi", Kind.GAUGE, "PSI", "population stability index against the reference, chance taken off", label="subject"
)
DRIFT_KS: Final = Metric(
    "ks", Kind.GAUGE, "distance 0-1", "Kolmogorov-Smirnov distance from the reference", label="subject"
)
ALERT_RATE_RATIO: Final = Metric(
    "alert_rate_ratio", Kind.GAUGE, "ratio", "alert rate against the manifest's, the larger over the smaller"
)
PRECISION_DROP: Final = Metric(
    "precision_drop", Kind.GAUGE, "share", "the manifest's precision of alerts less the one that labels show"
)
MODEL_AGE_DAYS: Final = Metric("age_days", Kind.GAUGE, "days", "from the last row trained on to the end of the window")
ROWS_SINCE_TRAINING: Final = Metric(
    "rows_since_training", Kind.GAUGE, "decisions", "decisions of the model later than its last training row"
)
WINDOW_DECISIONS: Final = Metric("window_decisions", Kind.GAUGE, "decisions", "decisions that the last check looked at")
DRIFT_VERDICT: Final = Metric(
    "verdict", Kind.GAUGE, "0 or 1", "1 for the verdict of the last check, 0 for the others", label="verdict"
)
WATCHED_VERSION: Final = Metric("watched", Kind.GAUGE, "0 or 1", "1 for the version checked last", label="version")
LAST_CHECK: Final = Metric("last_check_time_seconds", Kind.GAUGE, "seconds", "when the last check ended, Unix time")

MODEL_WATCH_METRICS: Final = (
    DRIFT_PSI, DRIFT_KS, ALERT_RATE_RATIO, PRECISION_DROP, MODEL_AGE_DAYS, ROWS_SINCE_TRAINING, WINDOW_DECISIONS,
    DRIFT_VERDICT, WATCHED_VERSION, LAST_CHECK,
)  # fmt: skip
"""Of `streamflow drift --serve`."""


WAREHOUSE_PREFIX: Final = "streamflow_warehouse_"
WAREHOUSE_UP: Final = Metric(
    "up", Kind.GAUGE, "0 or 1", "1 when the database answered this scrape; 0: nothing else shows"
)
TABLE_ROWS: Final = Metric(
    "table_rows", Kind.GAUGE, "rows", "rows of a table of raw or gold, as the database estimates them", label="table"
)
TABLE_LOADED: Final = Metric(
    "table_loaded_time_seconds", Kind.GAUGE, "seconds", "when the newest row was loaded, Unix time", label="table"
)
QUALITY_ERRORS: Final = Metric(
    "quality_errors", Kind.GAUGE, "rows", "violations of a check that keeps a day from gold, the last day checked",
    label="check",
)  # fmt: skip
QUALITY_WARNINGS: Final = Metric(
    "quality_warnings", Kind.GAUGE, "rows", "violations of a check that only warns, the last day checked", label="check"
)
QUALITY_CHECKED: Final = Metric(
    "quality_checked_time_seconds", Kind.GAUGE, "seconds", "when a check last ran, Unix time", label="check"
)
DBT_NODES: Final = Metric(
    "dbt_nodes", Kind.GAUGE, "nodes", "models, seeds, snapshots and tests by how each ended when it last ran",
    label="status",
)  # fmt: skip
DBT_FINISHED: Final = Metric(
    "dbt_finished_time_seconds", Kind.GAUGE, "seconds", "when dbt last did anything, Unix time"
)
INCIDENTS: Final = Metric(
    "incidents", Kind.COUNTER, "incidents", "failed tasks, failed tries and missed deadlines of Airflow", label="kind"
)
BACKUP_VERIFIED: Final = Metric(
    "backup_time_seconds", Kind.GAUGE, "seconds", "when the newest backup that was restored and compared was taken"
)
KAFKA_WAITING: Final = Metric(
    "kafka_waiting_records", Kind.GAUGE, "records", "committed records that the job which reads the topic has not read",
    label="topic",
)  # fmt: skip
KAFKA_MISSING: Final = Metric(
    "kafka_missing_records", Kind.GAUGE, "records", "records the detector has read that have no row in raw",
    label="topic",
)  # fmt: skip
KAFKA_OBSERVED: Final = Metric(
    "kafka_observed_time_seconds", Kind.GAUGE, "seconds", "when Kafka and raw were last compared, Unix time",
    label="topic",
)  # fmt: skip

WAREHOUSE_METRICS: Final = (
    WAREHOUSE_UP, TABLE_ROWS, TABLE_LOADED, QUALITY_ERRORS, QUALITY_WARNINGS, QUALITY_CHECKED, DBT_NODES, DBT_FINISHED,
    INCIDENTS, BACKUP_VERIFIED, KAFKA_WAITING, KAFKA_MISSING, KAFKA_OBSERVED,
)  # fmt: skip
"""Of `streamflow marts-exporter`. What nobody has noted yet is not shown."""


def prometheus_name(metric: Metric) -> str:
    """Return the name under which Flink's Prometheus reporter shows a detector metric.

    Flink puts the label's name before the metric's; the reporter shows counters with type gauge.

    >>> prometheus_name(DEAD_LETTERS), prometheus_name(SCORE)
    ... # doctest: +NORMALIZE_WHITESPACE
    ('flink_taskmanager_job_task_operator_reason_dead_letters',
     'flink_taskmanager_job_task_operator_le_score_bucket')
    """
    if metric.kind is Kind.HISTOGRAM:
        return f"{FLINK_OPERATOR_PREFIX}le_{metric.name}_bucket"
    return FLINK_OPERATOR_PREFIX + (f"{metric.label}_" if metric.label else "") + metric.name
