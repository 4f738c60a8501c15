"""The Flink operator around the pure evaluator.

``FraudDetectorFunction`` reads and writes keyed state, keeps the configuration from the control topic in broadcast
state, and emits each part of the evaluator's outcome to its output. It makes no decisions itself.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Final, cast

from pyflink.common import Row, Types
from pyflink.datastream import KeyedBroadcastProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueState, ValueStateDescriptor

from flink_jobs.contracts import uids
from flink_jobs.core.batch_scorer import TIMED_MASK
from flink_jobs.core.control.audit import build_audit_record, encode_audit_record
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.control.messages import (
    ControlMessage,
    ControlRefusal,
    apply_control,
    parse_control,
    remarks,
)
from flink_jobs.core.dead_letters.rejections import incident
from flink_jobs.core.documents import ControlOutcome
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.features.vector import DAY_MS
from flink_jobs.core.models.lineup import Lineup, Model, Role
from flink_jobs.core.outcome import Outcome
from flink_jobs.core.parsing.source_record import SourceRecord, unpack_record
from flink_jobs.core.reasons import DeadLetterReason, PipelineStage
from flink_jobs.core.replies import Replies, RequestFault, answer
from flink_jobs.core.state.recent import RecentStates
from flink_jobs.job.detector.batch_runner import BatchRunner, offer_runner
from flink_jobs.job.detector.detector_metrics import FLUSH_MS, DetectorMetrics
from flink_jobs.job.detector.merchant_rows import MerchantRows
from flink_jobs.job.detector.models import JobModels, keyed
from flink_jobs.job.detector.operator_settings import DetectorSettings
from flink_jobs.job.detector.outputs import (
    ALERTS_AT_ONCE,
    ALERTS_WITH_CHECKPOINT,
    AUDIT,
    CONTROL,
    DEAD_LETTERS,
    REPLIES,
    Message,
)
from flink_jobs.job.detector.own_features import open_own_features
from flink_jobs.job.detector.schemas import JobSchemas
from flink_jobs.job.detector.task_place import task_place
from flink_jobs.job.detector.tracing import DetectorTracer
from flink_jobs.job.detector.warm_up import calm_garbage_collection, warm_up
from flink_jobs.job.log import log_event
from flink_jobs.job.time_to_live import time_to_live
from flink_jobs.metrics import catalogue
from flink_jobs.native.loader import core_in_use

CONFIG_STATE: Final = MapStateDescriptor(uids.CONFIG_STATE, Types.STRING(), Types.STRING())

_ROLE_OF_CHANGE: Final = {
    "model_version": Role.CHAMPION,
    "shadow_model": Role.SHADOW,
    "experiment": Role.CHALLENGER,
}
"""The model that each field of a control message changes."""


class FraudDetectorFunction(KeyedBroadcastProcessFunction):  # type: ignore[misc]  # PyFlink is untyped
    """Scores the transactions of each customer against that customer's state."""

    runner_type = BatchRunner
    """What Java's operator calls in place of ``process_element``."""

    def __init__(self, settings: DetectorSettings) -> None:
        """Keep the settings; ``open`` creates everything else on the TaskManager."""
        self._settings = settings
        self._tracer: DetectorTracer | None = None
        self._schemas: JobSchemas | None = None

    def open(self, runtime_context: RuntimeContext) -> None:
        """Set up state and metrics, and load the champion.

        Raises:
            RuntimeError: the job does not run in the configured execution mode. PyFlink changes to process mode
                silently for functions that thread mode cannot run, and each record would need a gRPC call for state.
        """
        mode = "thread" if ".embedded." in type(runtime_context).__module__ else "process"
        if mode != self._settings.execution_mode:
            raise RuntimeError(
                f"the detector runs in {mode} mode, not in {self._settings.execution_mode} mode as configured; "
                "set STREAMFLOW_EXECUTION_MODE to the mode that the job can use"
            )
        self._state: ValueState = runtime_context.get_state(_customer_state(self._settings.state_ttl_days))
        self._metrics = DetectorMetrics(runtime_context.get_metrics_group())
        subtask, parallelism, attempt = task_place(runtime_context, mode)
        self._is_first_subtask = subtask == 0
        lineup = Lineup(time.perf_counter_ns, self._settings.model_budget_ms * 1_000_000)
        self._merchants = (
            MerchantRows(self._metrics, self._settings.risk_entities) if self._settings.merchants_topic else None
        )
        own = open_own_features(self._settings.own_features, self._metrics)
        self._models = JobModels(self._settings, self._metrics, lineup, self._merchants, own)
        # Created for every attempt: the cache of states must not survive a restore.
        recent = RecentStates(self._settings.state_cache_customers, self._settings.state_ttl_days * DAY_MS)
        self._schemas = schemas = JobSchemas(self._settings.schemas, self._metrics).open()
        window = self._settings.duplicate_window
        self._evaluator = TransactionEvaluator(
            lineup=lineup, recent=recent, window=window, parse=schemas.parse, own=own
        )
        self._alerts = ALERTS_AT_ONCE if self._settings.are_alerts_at_once else ALERTS_WITH_CHECKPOINT
        self._replies = Replies(self._settings.replies_topic, self._settings.reply_routes)
        if (target := self._settings.traces) is not None:
            self._tracer = DetectorTracer(target, self._metrics, time.time_ns)
        self._config_is_loaded = self._flush_is_set = False
        self._records = 0
        self._models.start(self._evaluator.config)
        offer_runner(
            self.runner_type(
                self._settings.transactions_topic,
                self._evaluator,
                recent,
                self._metrics,
                self._messages,
                self._restore_config,
                actions_topic=self._settings.actions_topic,
                tracer=self._tracer,
                merchants=self._merchants,
            )
        )
        champion = lineup.champion.model
        started_ns = time.perf_counter_ns()
        warmed = warm_up(champion, own)
        calm_garbage_collection()
        _log_open(mode, (subtask, parallelism, attempt), champion, warmed, started_ns)

    def close(self) -> None:
        """Send the last spans, and end the thread that loads schemas."""
        if self._tracer is not None:
            self._tracer.close()
        if self._schemas is not None:
            self._schemas.close()

    def process_element(self, value: str, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> list[Message]:
        """Return the outputs of one record. A list costs less than a generator, and PyFlink accepts both."""
        if not self._config_is_loaded:
            self._load_config(ctx)
        self._records += 1
        timed = not self._records & TIMED_MASK
        started_ns = time.perf_counter_ns() if timed else 0
        now_ns = time.time_ns()
        now_ms = now_ns // 1_000_000
        record = unpack_record(value, self._settings.transactions_topic, self._settings.actions_topic)
        outcome = self._evaluator.evaluate(record, self._state.value, now_ms)
        if outcome.state is not None:
            self._state.update(outcome.state)
            self._metrics.record_sizes((len(outcome.state),))
        output = self._messages(record, outcome, now_ns)
        metrics = self._metrics
        metrics.record(outcome)
        if timed:
            timestamp_ms = record.timestamp_ms
            metrics.timing(
                (time.perf_counter_ns() - started_ns) / 1000, None if timestamp_ms is None else now_ms - timestamp_ms
            )
        if metrics.due(now_ms):
            metrics.flush(now_ms)
        elif not self._flush_is_set:
            # Without further records, a timer flushes the pending counts. One timer at a time, at most two per second.
            self._flush_is_set = True
            ctx.timer_service().register_processing_time_timer(now_ms + FLUSH_MS)
        return output

    def _messages(self, record: SourceRecord, outcome: Outcome, now_ns: int) -> list[Message]:
        """Return the messages of one outcome: the immediate lane first, which leaves before the others are written."""
        output: list[Message] = []
        now_ms, decision = now_ns // 1_000_000, outcome.decision
        if record.headers and outcome.account_action is None:
            output = self._reply(record, outcome, now_ms)
            if self._tracer is not None:
                decision = self._tracer.decision_of(record, outcome, now_ns)
        if decision is not None:
            if outcome.alert is not None:
                output.append((self._alerts, keyed(outcome.customer_id, outcome.alert)))
                self._metrics.alert(record.timestamp_ms, now_ms)
            output.append(keyed(outcome.customer_id, decision))
        if outcome.letters:
            output += [(DEAD_LETTERS, keyed(letter.id, letter.body)) for letter in outcome.letters]
        if outcome.notices or outcome.stopped is not None:
            output += [(CONTROL, line) for line in self._models.report(outcome, now_ms)]
        return output

    def _reply(self, record: SourceRecord, outcome: Outcome, now_ms: int) -> list[Message]:
        """Return the reply to the producer of a record, if it asks for one."""
        request = self._replies.request(record)
        if request is None:
            return []
        if isinstance(request, RequestFault):
            self._metrics.reply_fault(request)
            return []
        reply = answer(request, record, outcome, now_ms)
        if reply is None:
            return []
        self._metrics.reply(reply.outcome, record.timestamp_ms, now_ms)
        return [(REPLIES, keyed(reply.key, reply.body))]

    def on_timer(self, timestamp: int, ctx: KeyedBroadcastProcessFunction.OnTimerContext) -> tuple[()]:  # noqa: ARG002
        """Flush counts that no later record has flushed."""
        self._flush_is_set = False
        self._metrics.flush(timestamp)
        return ()

    def process_broadcast_element(self, value: Row, ctx: KeyedBroadcastProcessFunction.Context) -> Iterator[Message]:
        """Apply a control message or a row of a merchant. Every subtask applies it; the first one also reports it."""
        record = unpack_record(value[0], self._settings.control_topic, self._settings.merchants_topic)
        if self._merchants is not None:
            if not self._config_is_loaded:
                self._merchants.restore_all(ctx)
            if record.whole is not None:  # marked: not a control message
                self._merchants.use(record, ctx, is_reported=self._is_first_subtask)
                return
        state = ctx.get_broadcast_state(CONFIG_STATE)
        stored = state.get(uids.CONFIG_KEY)
        config = DetectionConfig() if stored is None else DetectionConfig.from_json(stored)
        now_ms = time.time_ns() // 1_000_000
        message = parse_control(record.payload)
        answer = apply_control(config, message) if isinstance(message, ControlMessage) else message
        letters = []
        if isinstance(answer, ControlRefusal):
            outcome, detail = ControlOutcome.REJECTED, answer.detail
            letters.append(incident(record, answer.reason, PipelineStage.CONTROL, answer.detail, now_ms))
        elif answer is config:
            outcome, detail = ControlOutcome.DUPLICATE, "a message with this control_id was applied before"
        else:
            outcome, detail = ControlOutcome.APPLIED, remarks(config, cast("ControlMessage", message))
            state.put(uids.CONFIG_KEY, answer.to_json())
            named = message.changes if isinstance(message, ControlMessage) else {}
            problem = self._use_config(answer, [role for field, role in _ROLE_OF_CHANGE.items() if field in named])
            if problem:
                detail = "; ".join(filter(None, (detail, problem)))
                letters.append(
                    incident(record, DeadLetterReason.MODEL_UNAVAILABLE, PipelineStage.MODEL, problem, now_ms)
                )
        revision = answer.revision if isinstance(answer, DetectionConfig) else config.revision
        if not self._is_first_subtask:
            return
        self._metrics.count(catalogue.CONTROL_MESSAGES, outcome)
        log_event("control_message", outcome=outcome, revision=revision, detail=detail)
        for letter in letters:
            self._metrics.count(catalogue.DEAD_LETTERS, letter.reason)
            yield DEAD_LETTERS, keyed(letter.id, letter.body)
        audit = build_audit_record(record, message, outcome, detail, revision, now_ms)
        yield AUDIT, keyed(audit["control_id"], encode_audit_record(audit))

    def _load_config(self, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> None:
        """Use the configuration and the rows of a restored savepoint, at the first record after ``open``."""
        if self._merchants is not None:
            self._merchants.restore_all(ctx)
        self._restore_config(ctx.get_broadcast_state(CONFIG_STATE).get(uids.CONFIG_KEY))

    def _restore_config(self, stored: str | None) -> None:
        """Use the configuration of a restored savepoint, ``None`` without one."""
        self._config_is_loaded = True
        if stored is not None:
            self._use_config(DetectionConfig.from_json(stored), Role)

    def _use_config(self, config: DetectionConfig, roles: Iterable[Role]) -> str:
        """Use a configuration, and load the models of some roles; return the problems as one text, or an empty text."""
        if not self._config_is_loaded:
            self._config_is_loaded, roles = True, Role  # the first message also loads the models of a savepoint
        problems = self._models.use(config, roles)
        self._evaluator.configure(config)
        self._metrics.gauge(catalogue.CONFIG_REVISION, config.revision)
        return problems


def _log_open(mode: str, place: tuple[int, int, int], champion: Model | None, warmed: int, started_ns: int) -> None:
    log_event(
        "detector_open",
        execution_mode=mode,
        core=core_in_use(),
        subtask=place[0],
        parallelism=place[1],
        attempt=place[2],
        model=champion.version if champion else None,
        warm_up_evaluations=warmed,
        warm_up_ms=(time.perf_counter_ns() - started_ns) // 1_000_000,
    )


def _customer_state(days: int) -> ValueStateDescriptor:
    descriptor = ValueStateDescriptor(uids.CUSTOMER_STATE, Types.PICKLED_BYTE_ARRAY())
    descriptor.enable_time_to_live(time_to_live(days))
    return descriptor
