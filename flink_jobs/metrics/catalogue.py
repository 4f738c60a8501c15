"""The catalogue: name, kind, unit, labels and meaning of every metric of the product.

``warehouse_metrics.py`` has the metrics of the warehouse.

Code creates only metrics of this catalogue. Dashboards and alerts name only metrics of this catalogue and the metrics
of Flink in ``tests/monitoring/flink_metrics.py``. Flink's reporter adds the prefix
``flink_taskmanager_job_task_operator_`` to operator metrics.

PyFlink has no histogram that can be aggregated over subtasks. Operator histograms are therefore counters with the label
``le``, one per bucket and cumulative as in Prometheus, so ``histogram_quantile`` works on them.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from flink_jobs.core.models.slot import Role
from flink_jobs.core.reasons import ACCOUNT_REASONS, AbsenceReason, DeadLetterReason, ReasonCode

FLINK_OPERATOR_PREFIX: Final = "flink_taskmanager_job_task_operator_"


class MetricKind(StrEnum):
    """The kind of a metric, as in Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the product.

    Attributes:
        name: name without its prefix.
        kind: counter, gauge or histogram.
        unit: the unit of its values.
        meaning: what it measures; the help text in Prometheus.
        label: name of its label, ``None`` for a metric without a label.
        buckets: upper bounds (inclusive) of a histogram, ascending, without ``+Inf``.
        values: label values that are reported from the start with value 0. A series that first appears with its first
            event has no rate.
    """

    name: str
    kind: MetricKind
    unit: str
    meaning: str
    label: str | None = None
    buckets: tuple[float, ...] = ()
    values: tuple[str, ...] = ()


def _counter(name: str, unit: str, meaning: str, label: str | None = None, values: tuple[str, ...] = ()) -> Metric:
    return Metric(name, MetricKind.COUNTER, unit, meaning, label=label, values=values)


def _gauge(name: str, unit: str, meaning: str, label: str | None = None) -> Metric:
    return Metric(name, MetricKind.GAUGE, unit, meaning, label=label)


def _histogram(name: str, unit: str, meaning: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(name, MetricKind.HISTOGRAM, unit, meaning, buckets=buckets)


RECORDS: Final = _counter("records", "records", "records read from the transactions topic")
DECISIONS: Final = _counter("decisions", "decisions", "transactions scored")
ALERTS: Final = _counter("alerts", "alerts", "decisions with a score at or above the alert threshold")
ALERT_REASONS: Final = _counter(
    "alert_reasons", "alerts", "alerts by reason code; one alert can have several reason codes",
    "reason", tuple(code for code in ReasonCode if code not in ACCOUNT_REASONS),
)  # fmt: skip
DEAD_LETTERS: Final = _counter(
    "dead_letters", "dead letters", "dead letters by reason, duplicates and incidents included",
    "reason", tuple(DeadLetterReason),
)  # fmt: skip
DEGRADED_DECISIONS: Final = _counter(
    "degraded_decisions", "decisions", "decisions without a model score, by rules alone"
)
OUT_OF_ORDER: Final = _counter(
    "out_of_order_decisions", "decisions", "transactions older than the customer's latest transaction"
)
MODEL_FAULTS: Final = _counter(
    "model_faults", "faults", "model faults: load failure, exception, invalid score or timeout"
)
MODEL_CUT_OFFS: Final = _counter(
    "model_cut_offs", "models", "models disabled after repeated faults, by role", "role", tuple(Role)
)
SHADOW_DECISIONS: Final = _counter("shadow_decisions", "decisions", "decisions that the shadow model scored too")
SHADOW_ALERTS: Final = _counter("shadow_alerts", "decisions", "decisions that the shadow model would have alerted on")
CHALLENGER_DECISIONS: Final = _counter(
    "challenger_decisions", "decisions", "decisions by the challenger of an experiment"
)
CHALLENGER_ALERTS: Final = _counter("challenger_alerts", "alerts", "alerts by the challenger of an experiment")
EXPERIMENT_STOPS: Final = _counter(
    "experiment_stops", "experiments", "experiments ended by the guard, counted once in each subtask"
)
CONTROL_MESSAGES: Final = _counter(
    "control_messages", "messages", "control messages by outcome", "outcome", ("applied", "rejected", "duplicate")
)
ACCOUNT_ACTIONS: Final = _counter(
    "account_actions", "actions", "actions on accounts by outcome", "outcome", ("applied", "outdated", "rejected")
)
MERCHANT_ROWS_READ: Final = _counter(
    "merchant_rows_read", "rows", "rows read; dropped: rows of a savepoint of an entity that is turned off", "outcome",
    ("applied", "rejected", "dropped"),
)  # fmt: skip
MERCHANT_OTHER_SLOTS: Final = _counter("merchant_other_slots", "look-ups", "look-ups that found a row of another slot")
OWN_FEATURE_FAULTS: Final = _counter(
    "own_feature_faults", "calls", "calls of own features without a valid value, by what was wrong",
    "fault", (AbsenceReason.FUNCTION_RAISED, AbsenceReason.VALUE_INVALID),
)  # fmt: skip
CONFIG_REVISION: Final = _gauge("config_revision", "revision", "revision of the configuration in force")
SCORE: Final = _histogram("score", "score 0-1", "scores of decisions", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))
PROCESSING_TIME_US: Final = _histogram(
    "processing_time_us", "microseconds", "time the detector took for one record, state access included; a sample",
    (25, 50, 75, 100, 150, 250, 500, 1000, 5000, 25000),
)  # fmt: skip
LATENCY_MS: Final = _histogram(
    "latency_ms", "milliseconds",
    "time from Kafka's record timestamp to the decision; a sample (the next checkpoint commits the output)",
    (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000),
)  # fmt: skip
ALERT_LATENCY_MS: Final = _histogram(
    "alert_latency_ms", "milliseconds", "time from Kafka's record timestamp until the alert is sent, for every alert",
    (5, 10, 25, 50, 100, 250, 500, 1000, 2000, 5000, 10000, 30000, 60000),
)  # fmt: skip
REPLIES: Final = _counter(
    "replies", "replies", "replies to producers that asked for one", "outcome", ("decided", "rejected", "duplicate")
)
REPLY_FAULTS: Final = _counter(
    "reply_faults", "records", "requests for a reply that were not answered, because their headers are not valid",
    "fault", ("unreadable", "other_topic", "request_id", "partition"),
)  # fmt: skip
REPLY_LATENCY_MS: Final = _histogram(
    "reply_latency_ms", "milliseconds", "time from Kafka's record timestamp until the reply is sent",
    (5, 10, 25, 50, 100, 250, 500, 1000, 2000, 5000, 10000, 30000, 60000),
)  # fmt: skip
SPANS: Final = _counter(
    "spans", "spans", "spans of traced records: sent, or dropped because the receiver was slow or away",
    "outcome", ("sent", "dropped"),
)  # fmt: skip
WRITER_SCHEMAS: Final = _gauge("writer_schemas", "schemas", "schemas of Avro records that the detector has loaded")
SCHEMA_REGISTRY_FAULTS: Final = _counter(
    "schema_registry_faults", "faults", "attempts to load schemas to which the registry gave no valid answer"
)
STATE_BYTES: Final = _histogram(
    "state_bytes", "bytes",
    "size of a customer's encoded state when written; at most 42,067 bytes with the default duplicate window",
    (128, 256, 384, 512, 640, 768, 1024, 1280, 2048, 4096, 8192, 16384, 32768, 65536),
)  # fmt: skip

DETECTOR_METRICS: Final = (
    RECORDS, DECISIONS, ALERTS, ALERT_REASONS, DEAD_LETTERS, DEGRADED_DECISIONS, OUT_OF_ORDER, MODEL_FAULTS,
    MODEL_CUT_OFFS, SHADOW_DECISIONS, SHADOW_ALERTS, CHALLENGER_DECISIONS, CHALLENGER_ALERTS, EXPERIMENT_STOPS,
    CONTROL_MESSAGES, CONFIG_REVISION, SCORE, PROCESSING_TIME_US, LATENCY_MS, ALERT_LATENCY_MS, REPLIES,
    REPLY_FAULTS, REPLY_LATENCY_MS, STATE_BYTES, ACCOUNT_ACTIONS, SPANS, WRITER_SCHEMAS, SCHEMA_REGISTRY_FAULTS,
    MERCHANT_ROWS_READ, MERCHANT_OTHER_SLOTS, OWN_FEATURE_FAULTS,
)  # fmt: skip
"""Metrics of the detector job."""


ARCHIVED_ROWS: Final = _counter(
    "archived_rows", "rows", "rows the archive wrote to Postgres, redelivered rows included"
)
REFUSED_ROWS: Final = _counter("refused_rows", "rows", "records that break their contract or that Postgres refuses")

MERCHANT_ROWS: Final = _counter("merchant_rows", "rows", "rows that the job of merchants published")
MERCHANT_LABELS: Final = _counter(
    "merchant_labels", "labels", "labels that the job of merchants read, once for each entity, by what became of them",
    "outcome",
    ("learned", "known", "waiting", "too_old", "no_merchant", "no_terminal", "no_device", "no_card", "unreadable"),
)  # fmt: skip
MERCHANT_UNREADABLE: Final = _counter(
    "merchant_unreadable", "records", "decisions that the job of merchants cannot read"
)
MERCHANT_LOST: Final = _counter(
    "merchant_histories_lost", "states", "damaged states of the job of merchants: of one id, or the starts of all",
    "state", ("id", "starts"),
)  # fmt: skip

MERCHANT_METRICS: Final = (MERCHANT_ROWS, MERCHANT_LABELS, MERCHANT_UNREADABLE, MERCHANT_LOST)
"""Metrics of the job of merchants."""


TRAFFIC_PREFIX: Final = "streamflow_traffic_"
SENT: Final = _counter("sent", "records", "records that the broker acknowledged, by expected outcome", "fate")
SEND_LATENCY_MS: Final = _histogram(
    "send_latency_ms", "milliseconds", "time from passing a record to the producer to the broker's acknowledgement",
    (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000),
)  # fmt: skip
OUTCOMES: Final = _counter("outcomes", "records", "committed outcomes read back from Kafka, by outcome", "fate")
OUTCOME_LATENCY_MS: Final = _histogram(
    "outcome_latency_ms", "milliseconds", "time from sending a record until its committed outcome was readable",
    (50, 100, 250, 500, 1000, 2000, 3000, 5000, 10000, 30000, 60000),
)  # fmt: skip

TRAFFIC_METRICS: Final = (SENT, SEND_LATENCY_MS, OUTCOMES, OUTCOME_LATENCY_MS)
"""Metrics of ``streamflow replay``, ``simulate`` and ``demo``, which send traffic and read outcomes outside Flink."""


MODEL_WATCH_PREFIX: Final = "streamflow_model_"
DRIFT_PSI: Final = _gauge(
    "psi", "PSI", "population stability index against the reference, less its expectation by chance", "subject"
)
DRIFT_KS: Final = _gauge("ks", "distance 0-1", "Kolmogorov-Smirnov distance from the reference", "subject")
ALERT_RATE_RATIO: Final = _gauge(
    "alert_rate_ratio", "ratio", "alert rate compared with the manifest, the larger rate divided by the smaller"
)
PRECISION_DROP: Final = _gauge(
    "precision_drop", "share", "precision of alerts in the manifest less the precision according to labels"
)
MODEL_AGE_DAYS: Final = _gauge("age_days", "days", "time from the last training row to the end of the checked window")
ROWS_SINCE_TRAINING: Final = _gauge(
    "rows_since_training", "decisions", "decisions of the model later than its last training row"
)
WINDOW_DECISIONS: Final = _gauge("window_decisions", "decisions", "decisions in the window of the last check")
DRIFT_VERDICT: Final = _gauge("verdict", "0 or 1", "1 for the verdict of the last check, 0 for the others", "verdict")
WATCHED_VERSION: Final = _gauge("watched", "0 or 1", "1 for the model version of the last check", "version")
LAST_CHECK: Final = _gauge("last_check_time_seconds", "seconds", "end of the last check, Unix time")

MODEL_WATCH_METRICS: Final = (
    DRIFT_PSI, DRIFT_KS, ALERT_RATE_RATIO, PRECISION_DROP, MODEL_AGE_DAYS, ROWS_SINCE_TRAINING, WINDOW_DECISIONS,
    DRIFT_VERDICT, WATCHED_VERSION, LAST_CHECK,
)  # fmt: skip
"""Metrics of ``streamflow drift --serve``."""

API_PREFIX: Final = "streamflow_api_"
API_REQUESTS: Final = _counter("requests", "requests", "HTTP requests by status code", "status")
API_REQUEST_TIME_MS: Final = _histogram(
    "request_time_ms", "milliseconds", "time from the beginning of an HTTP request to its answer",
    (1, 2.5, 5, 10, 15, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000),
)  # fmt: skip
API_ANSWERS: Final = _counter(
    "answers", "answers", "answers on transactions: by the job, by the fallback policy, repeated or not acknowledged",
    "decided_by", ("job", "fallback", "repeated", "unknown"),
)  # fmt: skip
API_REPLY_TIME_MS: Final = _histogram(
    "reply_time_ms", "milliseconds", "time from sending a transaction to Kafka to the job's reply",
    (2.5, 5, 10, 15, 25, 50, 100, 250, 500, 1000, 2500, 5000),
)  # fmt: skip

CASE_WORK_TIME: Final = _gauge(
    "case_work_time_seconds", "seconds", "last completed round of a part of the work on cases, Unix time", "part"
)
OUTBOX_AGE: Final = _gauge(
    "outbox_age_seconds", "seconds", "age of the oldest message of the outbox that is due and not sent", "kind"
)
OUTBOX_DEAD: Final = _gauge(
    "outbox_dead_messages", "messages", "messages of the outbox that were given up after the last attempt", "kind"
)

API_RATE_STORE_FAILURES: Final = _counter(
    "rate_store_failures", "requests",
    "requests whose rate Redis did not count: calls were counted in memory, logins refused", "use", ("call", "login"),
)  # fmt: skip

API_SPANS: Final = _counter(
    "spans", "spans", "spans of traced requests: ended, then sent or failed; the difference is dropped or waits",
    "outcome", ("ended", "sent", "failed"),
)  # fmt: skip

API_HISTORY_ROWS_READ: Final = _counter(
    "history_rows_read", "rows", "rows of merchants, terminals, devices and cards that the API read from Kafka",
    "outcome", ("applied", "rejected"),
)  # fmt: skip
API_HISTORY_ROWS: Final = _gauge(
    "history_rows", "rows", "merchants, terminals, devices and cards with history in the API's memory", "entity"
)
API_HISTORY_NEWEST: Final = _gauge(
    "history_newest_slot_seconds", "seconds", "start of the newest slot with a row of an entity, Unix time", "entity"
)
API_MODEL_PROBLEMS: Final = _counter(
    "model_problems", "answers", "answers of POST /v1/score without a score of the model, by model_problem",
    "problem", ("histories_not_read", "histories_not_current"),
)  # fmt: skip

API_METRICS: Final = (
    API_REQUESTS, API_REQUEST_TIME_MS, API_ANSWERS, API_REPLY_TIME_MS, CASE_WORK_TIME, OUTBOX_AGE, OUTBOX_DEAD,
    API_RATE_STORE_FAILURES, API_SPANS, API_HISTORY_ROWS_READ, API_HISTORY_ROWS, API_HISTORY_NEWEST,
    API_MODEL_PROBLEMS,
)  # fmt: skip
"""Metrics of the HTTP service."""


def prometheus_name(metric: Metric) -> str:
    """Return the name under which Flink's Prometheus reporter exposes an operator metric.

    Flink puts the name of the label before the name of the metric; the reporter exposes counters with type gauge.

    >>> prometheus_name(DEAD_LETTERS), prometheus_name(SCORE)
    ... # doctest: +NORMALIZE_WHITESPACE
    ('flink_taskmanager_job_task_operator_reason_dead_letters',
     'flink_taskmanager_job_task_operator_le_score_bucket')
    """
    if metric.kind is MetricKind.HISTOGRAM:
        return f"{FLINK_OPERATOR_PREFIX}le_{metric.name}_bucket"
    return FLINK_OPERATOR_PREFIX + (f"{metric.label}_" if metric.label else "") + metric.name
