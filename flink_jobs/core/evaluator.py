"""The step: one record and a customer's state in, outcomes and the new state out.

``TransactionEvaluator`` is all of the detector that is not Flink. The operator hands it a record and a way to read the
customer's state; it answers with what to emit and what to store. It never raises for any input: whatever goes wrong
with one event becomes a dead letter, so no event can stop the job.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import NamedTuple

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.control.experiment import Experiment
from flink_jobs.core.currencies import major_amount
from flink_jobs.core.dead_letters.letter import build_dlq_record, encode_dlq_record
from flink_jobs.core.decision import Opinion, ShadowScore, build_alert, build_decision, encode
from flink_jobs.core.documents import Variant
from flink_jobs.core.features.vector import FeatureVector, extract_features, surprise_of
from flink_jobs.core.models.lineup import Lineup, Model, Notice
from flink_jobs.core.models.slot import NO_OPINION
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.parsing.transactions import WIRE_FORMATS, oversize
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage, ReasonCode
from flink_jobs.core.rules import FraudRuleEvaluator, RuleVerdict
from flink_jobs.core.scoring import blend
from flink_jobs.core.state.customer import (
    CustomerFraudState,
    StateCorrupt,
    StateVersionUnsupported,
    transaction_fingerprint,
)
from flink_jobs.core.state.recent import RecentStates
from flink_jobs.core.transaction import Rejection, Transaction


class DeadLetter(NamedTuple):
    """A dead letter, and the labels under which it is counted."""

    disposition: Disposition
    reason: DeadLetterReason
    id: str
    """The ``dlq_id``, also the message key."""
    body: str


class StoppedExperiment(NamedTuple):
    """An experiment that its guard has just ended, in this subtask."""

    experiment: Experiment
    why: str


class Outcome(NamedTuple):
    """What one record led to."""

    state: bytes | None = None
    """The customer's new state, ``None`` to leave it as it is."""
    decision: str | None = None
    alert: str | None = None
    letters: tuple[DeadLetter, ...] = ()
    customer_id: str = ""
    score: float = 0.0
    out_of_order_ms: int = 0
    reasons: tuple[ReasonCode, ...] = ()
    is_degraded: bool = False
    """Decided without a model."""
    variant: Variant = Variant.CHAMPION
    is_shadow_alert: bool | None = None
    """What the shadow model would have made of it; ``None`` without one."""
    notices: tuple[Notice, ...] = ()
    """What happened to the models meanwhile."""
    stopped: StoppedExperiment | None = None


class TransactionEvaluator:
    """Decides transactions under a configuration and a model, both of which may be replaced between two records."""

    def __init__(
        self,
        config: DetectionConfig | None = None,
        model: Model | None = None,
        wire_format: str = "json",
        lineup: Lineup | None = None,
        recent: RecentStates | None = None,
    ) -> None:
        """Compile the configuration; without a model it decides by rules alone and marks decisions degraded.

        Args:
            config: the configuration to start with.
            model: the champion.
            wire_format: of the payloads.
            lineup: made by the caller where models are timed.
            recent: states to decide on without reading them. Only for a caller that stores every state it is given,
                or ends; without it, each is read.
        """
        self._parse = WIRE_FORMATS[wire_format]
        self.lineup = lineup or Lineup()
        self.lineup.use_champion(model)
        self._recent = recent
        self.configure(config or DetectionConfig())

    def configure(self, config: DetectionConfig) -> None:
        """Take a new configuration into use."""
        self.config = config
        self._rules = FraudRuleEvaluator(config.rules)
        self._is_blacklisted = config.blacklist.matches

    def evaluate(  # noqa: PLR0911 - one for each way a record can end
        self, record: SourceRecord, read_state: Callable[[], bytes | None], now_ms: int
    ) -> Outcome:
        """Decide one record.

        Args:
            record: the record with its coordinates.
            read_state: returns the stored state of the customer that ``record.routing_key`` names; called at most
                once, and only for a record that parses.
            now_ms: the caller's clock, ms since the epoch, UTC.

        Raises:
            Exception: only what ``read_state`` raises. A state backend that fails must fail the task, which then goes
                back to a checkpoint; setting events aside instead would lose them one after the other.
        """
        try:
            transaction = self._parse(record.payload, now_ms) if record.whole is None else oversize(record.whole.length)
        except Exception as error:  # noqa: BLE001 - whatever one event does, the stream goes on
            return _failed(record, PipelineStage.PARSE, error, (), now_ms)
        if isinstance(transaction, Rejection):
            return _set_aside(record, transaction.reason, PipelineStage.PARSE, transaction.detail, now_ms)
        if transaction.customer_id != record.routing_key:
            return _set_aside(record, DeadLetterReason.KEY_MISMATCH, PipelineStage.ROUTE, _KEY_MISMATCH, now_ms)
        known = None if self._recent is None else self._recent.take(transaction.customer_id, now_ms)
        blob = read_state() if known is None else None
        letters: tuple[DeadLetter, ...] = ()
        stage = PipelineStage.STATE
        try:
            try:
                state = CustomerFraudState(blob) if known is None else known
            except StateCorrupt as damage:
                state = CustomerFraudState()
                letters = (
                    _letter(record, DeadLetterReason.STATE_CORRUPT, stage, str(damage), Disposition.INCIDENT, now_ms),
                )
            fingerprint = transaction_fingerprint(transaction.transaction_id)
            if state.has_seen(fingerprint):
                return _duplicate(record, now_ms)
            stage = PipelineStage.SCORE
            return self._decide(transaction, state, fingerprint, record, letters, now_ms)
        except StateVersionUnsupported as problem:
            return _set_aside(record, DeadLetterReason.STATE_VERSION_UNSUPPORTED, stage, str(problem), now_ms)
        except Exception as error:  # noqa: BLE001 - whatever one event does, the stream goes on
            return _failed(record, stage, error, letters, now_ms)

    def _decide(
        self,
        transaction: Transaction,
        state: CustomerFraudState,
        fingerprint: int,
        record: SourceRecord,
        letters: tuple[DeadLetter, ...],
        now_ms: int,
    ) -> Outcome:
        """Score a transaction against its customer's past and take it into that past."""
        amount = major_amount(transaction.amount_minor, transaction.currency)
        features = extract_features(state, transaction, amount, self._is_blacklisted)
        verdict = self._rules.evaluate(features)
        lineup = self.lineup
        opinion, slot, is_trial = lineup.ask(features, transaction)
        score = blend(verdict, opinion.ml_score, self.config.alpha)
        if lineup.shadow is not None:
            opinion = opinion._replace(shadow=self._shadow_score(features, transaction, verdict))
        latest = state.last_event_time_ms
        behind = 0 if latest is None else max(0, latest - transaction.event_time_ms)
        decision = build_decision(transaction, features, verdict, opinion, score, self.config, record, behind, now_ms)
        is_alert = decision["is_alert"]
        alert = None
        if is_alert:
            contributions = None if opinion.ml_score is None else slot.contributions(features, transaction)
            alert = encode(build_alert(decision, contributions))
        stopped = None
        if lineup.experiment is not None:
            stopped = self._guarded(opinion, lineup.experiment, is_trial=is_trial, is_alert=is_alert)
        notices = lineup.take_notices()
        if notices or stopped:
            letters = (*letters, *_model_letters(record, notices, stopped, now_ms))
        state.observe(transaction, amount, fingerprint, surprise_of(features))
        outcome = Outcome(
            state.to_bytes(),
            encode(decision),
            alert,
            letters,
            transaction.customer_id,
            score.score,
            behind,
            tuple([code for code, _ in score.reasons]),
            opinion.ml_score is None,
            opinion.variant,
            None if opinion.shadow is None else opinion.shadow.is_alert,
            notices,
            stopped,
        )
        if self._recent is not None:
            self._recent.keep(transaction.customer_id, state, now_ms)
        return outcome

    def _shadow_score(
        self, features: FeatureVector, transaction: Transaction, verdict: RuleVerdict
    ) -> ShadowScore | None:
        """Return what the shadow model would have made of it."""
        opinion = NO_OPINION if self.lineup.shadow is None else self.lineup.shadow.opinion(features, transaction)
        if opinion.ml_score is None or opinion.model_version is None:
            return None
        score = blend(verdict, opinion.ml_score, self.config.alpha).score
        return ShadowScore(opinion.model_version, opinion.ml_score, score, score >= self.config.alert_threshold)

    def _guarded(
        self, opinion: Opinion, experiment: Experiment, *, is_trial: bool, is_alert: bool
    ) -> StoppedExperiment | None:
        """Show a decision to the guard; where it trips, the champion decides again from the next event on."""
        why = self.lineup.decided(opinion, is_trial=is_trial, is_alert=is_alert)
        if why is None:
            return None
        self.lineup.use_challenger(None, None)
        return StoppedExperiment(experiment, why)


_KEY_MISMATCH = "the key that routed the record is not its customer_id; does it name customer_id twice?"


def _set_aside(
    record: SourceRecord, reason: DeadLetterReason, stage: PipelineStage, detail: str, now_ms: int
) -> Outcome:
    return Outcome(letters=(_letter(record, reason, stage, detail, Disposition.REJECTED, now_ms),))


def _model_letters(
    record: SourceRecord, notices: Iterable[Notice], stopped: StoppedExperiment | None, now_ms: int
) -> Iterator[DeadLetter]:
    """Yield the incidents of models that were cut off, and of an experiment that was ended.

    The event at which that happened is decided; its letter gives the place in the stream.
    """
    cut_off = [f"{item.role} {item.version}: {item.detail}" for item in notices if item.is_cut_off]
    if cut_off:
        detail = f"cut off until a control message names it again: {'; '.join(cut_off)}"
        yield incident(record, DeadLetterReason.MODEL_CUT_OFF, PipelineStage.MODEL, detail, now_ms)
    if stopped is not None:
        detail = f"experiment {stopped.experiment.id} with {stopped.experiment.version} is over: {stopped.why}"
        yield incident(record, DeadLetterReason.EXPERIMENT_STOPPED, PipelineStage.MODEL, detail, now_ms)


def _failed(
    record: SourceRecord, stage: PipelineStage, error: Exception, letters: tuple[DeadLetter, ...], now_ms: int
) -> Outcome:
    """Set a record aside that our own code failed on.

    The detail names the place, never the message: a message may quote what it stumbled over, and that is card data.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{PurePath(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}" if trace else "unknown code"
    detail = f"{type(error).__name__} in {place}: a defect of the job; mend it, then redrive"
    letter = _letter(record, DeadLetterReason.PROCESSING_ERROR, stage, detail, Disposition.REJECTED, now_ms)
    return Outcome(letters=(*letters, letter))


def _duplicate(record: SourceRecord, now_ms: int) -> Outcome:
    letter = _letter(
        record,
        DeadLetterReason.DUPLICATE_TRANSACTION,
        PipelineStage.DEDUPLICATE,
        "this customer's transaction of the same id has been decided already",
        Disposition.DUPLICATE,
        now_ms,
    )
    return Outcome(letters=(letter,))


def _letter(
    record: SourceRecord,
    reason: DeadLetterReason,
    stage: PipelineStage,
    detail: str,
    disposition: Disposition,
    now_ms: int,
) -> DeadLetter:
    body = build_dlq_record(record, reason, stage, detail, disposition, now_ms)
    return DeadLetter(disposition, reason, body["dlq_id"], encode_dlq_record(body))


class ReplayedTransaction(NamedTuple):
    """A historical transaction with the features it would have had in the stream."""

    transaction: Transaction
    features: FeatureVector


def replay_features(
    transactions: Iterable[Transaction], config: DetectionConfig | None = None
) -> Iterator[ReplayedTransaction]:
    """Replay history through the code of the stream: what is trained is what is served.

    States pass through their bytes at every step just as in RocksDB, and redelivered transactions are left out just
    as the stream leaves them out.
    """
    is_blacklisted = (config or DetectionConfig()).blacklist.matches
    states: dict[str, bytes] = {}
    for transaction in transactions:
        state = CustomerFraudState(states.get(transaction.customer_id))
        fingerprint = transaction_fingerprint(transaction.transaction_id)
        if state.has_seen(fingerprint):
            continue
        amount = major_amount(transaction.amount_minor, transaction.currency)
        features = extract_features(state, transaction, amount, is_blacklisted)
        yield ReplayedTransaction(transaction, features)
        state.observe(transaction, amount, fingerprint, surprise_of(features))
        states[transaction.customer_id] = state.to_bytes()


def incident(
    record: SourceRecord, reason: DeadLetterReason, stage: PipelineStage, detail: str, now_ms: int
) -> DeadLetter:
    """Return the letter of something that went wrong beside an event (a control message, a model)."""
    return _letter(record, reason, stage, detail, Disposition.INCIDENT, now_ms)
