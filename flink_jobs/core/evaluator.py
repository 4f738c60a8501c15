"""The step: one Kafka record and one customer's state in, one outcome and the new state out.

``TransactionEvaluator`` is the whole detector apart from Flink. The Flink operator passes it a record and a function
that reads the customer's state. The evaluator returns an ``Outcome``: what to emit and what to store.

Theory of operation
-------------------

**Promise.** Every record produces exactly one outcome: a decision, or one dead letter that rejects the record or marks
it as a duplicate. A decision comes with the customer's new state, and with an alert where the score reaches the alert
threshold. Incidents (a damaged state, a disabled model, a stopped experiment) are additional dead letters with a
disposition of their own. So the ledger adds up: ``sent = decided + rejected + duplicate``.

**Why no record is lost.** The step catches every exception of its own code and turns it into a ``PROCESSING_ERROR``
dead letter that holds the record, so no record can stop the job and none is dropped. The only exceptions that leave the
step come from ``read_state``. When the state backend fails, the task must fail too: Flink then restarts from the last
checkpoint and reads the record again. With exactly-once delivery, Flink commits state, outputs and Kafka offsets in one
checkpoint, so they advance together or not at all.

**State.** The size of a customer's state is bounded (``max_state_bytes``). The step reads it at most once, and only for
a record that parses and was routed by its own ``customer_id``. Features are computed against the state before the
transaction; then the transaction is added. Only a decision returns a new state: a rejected or duplicate record changes
nothing. A damaged state is replaced by an empty one, and the transaction is scored without history. A state that a
newer release wrote is left unchanged and the record is rejected, for a redrive under that release.

**Order.** Flink sends all records of a customer to one subtask, in the order of their partition. Features use event
time. A late transaction is scored like any other and added at its own event time; ``out_of_order_ms`` in the decision
says how late it was. The caller's clock only rejects event times too far in the future and stamps the outputs.

**Duplicates.** The state holds fingerprints of the customer's transaction ids, for the ``DuplicateWindow``. A record
with one of these ids gets a duplicate dead letter, and no second decision. A transaction is remembered while at most
4,999 others of its customer were scored after it and the customer's newest event time is at most 7 days later than its
own (default window); the last 32 are remembered however old they are. After that, the same id is scored again.
``alert_id`` and ``dlq_id`` depend on the transaction or the record alone, so a replay after a failure writes the same
ids and an idempotent consumer keeps one document.

**Actions on accounts.** A record that is an action (block, allow, watch, suppress a rule, clear) changes the customer's
state and nothing else. It produces no decision, so it is not part of the ledger. An invalid action becomes an incident.

**Model faults.** A model that raises, returns an invalid score or takes too long costs the decision its model score,
never the transaction: the rules score it and the decision is marked ``degraded`` (see ``models.lineup``).

**Complexity.** One step takes bounded time and memory, whatever the history: parsing is linear in a payload of at most
64 KB, and the features read at most 32 recent transactions, 16 categories and 4 currencies. The ids of a customer with
thousands of transactions a week cost one scan of a byte each, and one copy of 8 bytes each.
"""

from collections.abc import Callable

from flink_jobs.core.accounts.effects import add_actions, without_suppressed
from flink_jobs.core.accounts.records import TOO_MANY_ACTIONS, readable_action, refused_action
from flink_jobs.core.accounts.standing import AccountActions, ActionChange, Entry
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.control.experiment import Experiment
from flink_jobs.core.currencies import major_amount
from flink_jobs.core.dead_letters.rejections import duplicate, incident, model_incidents, rejected, rejected_by_error
from flink_jobs.core.decision import Opinion, ShadowScore, build_alert, build_decision, encode
from flink_jobs.core.features.vector import FeatureVector, extract_features, surprise_of
from flink_jobs.core.models.lineup import Lineup, Model
from flink_jobs.core.models.slot import NO_OPINION
from flink_jobs.core.outcome import ActionOutcome, DeadLetter, Outcome, StoppedExperiment
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.core.parsing.avro import why_key_differs
from flink_jobs.core.parsing.source_record import SourceRecord, WholePayload
from flink_jobs.core.parsing.transactions import Parser, oversize, parse_transaction
from flink_jobs.core.probability import add_probability
from flink_jobs.core.reasons import DeadLetterReason, PipelineStage
from flink_jobs.core.rules import FraudRuleEvaluator, RuleVerdict
from flink_jobs.core.scoring import Blender
from flink_jobs.core.state.codec import StateCorrupt, StateVersionUnsupported
from flink_jobs.core.state.customer import CustomerFraudState, transaction_fingerprint
from flink_jobs.core.state.older_ids import DEFAULT_WINDOW, DuplicateWindow
from flink_jobs.core.state.recent import RecentStates
from flink_jobs.core.transaction import Rejection, Transaction


class TransactionEvaluator:
    """Scores transactions under a configuration and models, which can be replaced between two records."""

    def __init__(
        self,
        config: DetectionConfig | None = None,
        model: Model | None = None,
        parse: Parser = parse_transaction,
        lineup: Lineup | None = None,
        recent: RecentStates | None = None,
        window: DuplicateWindow = DEFAULT_WINDOW,
        *,
        own: OwnValues | None = None,
    ) -> None:
        """Compile the configuration. Without a model the rules score alone and decisions are marked degraded.

        Args:
            config: the configuration to start with.
            model: the champion.
            parse: parses the payloads, such as ``WriterSchemas.parse``.
            lineup: the models, for a caller that times them.
            recent: decoded states that need not be read again. Only for a caller that stores every state it is given,
                or stops; without it, every state is read. If it is deferred, its caller collects the states.
            window: how long transaction ids are remembered.
            own: computes the own features of an installation that has some.
        """
        self._own = own
        self._parse = parse
        self.lineup = lineup or Lineup()
        self.lineup.use_champion(model)
        self._recent = recent
        self._is_changing = False
        self._window = window
        self.configure(config or DetectionConfig())

    def configure(self, config: DetectionConfig) -> None:
        """Use a new configuration from the next record on."""
        self.config = config
        self._rules = FraudRuleEvaluator(config.rules)
        self._blender = Blender(config)
        self._is_blacklisted = config.blacklist.matches

    def evaluate(  # noqa: PLR0911 - one for each kind of outcome
        self, record: SourceRecord, read_state: Callable[[], bytes | None], now_ms: int
    ) -> Outcome:
        """Return the outcome of one record.

        Args:
            record: the record with its coordinates.
            read_state: returns the stored state of the customer ``record.routing_key``; called at most once.
            now_ms: the caller's clock, ms since the epoch, UTC.

        Raises:
            Exception: only what ``read_state`` raises, and ``UnsavedStateLost`` of a deferred cache of states.
        """
        if record.whole is not None:
            return self._unusual(record, record.whole, read_state, now_ms)
        try:
            transaction = self._parse(record.payload, now_ms)
        except Exception as error:  # noqa: BLE001 - no record may stop the job
            return rejected_by_error(record, PipelineStage.PARSE, error, (), now_ms)
        if isinstance(transaction, Rejection):
            return rejected(record, transaction.reason, PipelineStage.PARSE, transaction.detail, now_ms)
        if transaction.customer_id != record.routing_key:
            why = why_key_differs(record.payload)
            return rejected(record, DeadLetterReason.KEY_MISMATCH, PipelineStage.ROUTE, why, now_ms)
        known = None if self._recent is None else self._recent.take(transaction.customer_id, now_ms)
        blob = read_state() if known is None else None
        letters: tuple[DeadLetter, ...] = ()
        stage = PipelineStage.STATE
        try:
            try:
                state = CustomerFraudState(blob) if known is None else known
            except StateCorrupt as damage:
                state = CustomerFraudState()
                letters = (incident(record, DeadLetterReason.STATE_CORRUPT, stage, str(damage), now_ms),)
            fingerprint = transaction_fingerprint(transaction.transaction_id)
            if state.has_seen(fingerprint):
                self._give_back(transaction.customer_id, known)
                return duplicate(record, now_ms)
            stage = PipelineStage.SCORE
            if self._own is not None:
                self._own.compute(state, transaction)
            return self._score(transaction, state, fingerprint, record, letters, now_ms)
        except StateVersionUnsupported as problem:
            return rejected(record, DeadLetterReason.STATE_VERSION_UNSUPPORTED, stage, str(problem), now_ms)
        except Exception as error:  # noqa: BLE001 - no record may stop the job
            self._give_back(transaction.customer_id, known)
            return rejected_by_error(record, stage, error, letters, now_ms)

    def _unusual(
        self, record: SourceRecord, whole: WholePayload, read_state: Callable[[], bytes | None], now_ms: int
    ) -> Outcome:
        """Return the outcome of a record that is no ordinary transaction: an action, or an oversized payload."""
        if not whole.is_action:
            problem = oversize(whole.length)
            return rejected(record, problem.reason, PipelineStage.PARSE, problem.detail, now_ms)
        try:
            action = readable_action(record, whole, now_ms)
            if isinstance(action, str):
                return refused_action(record, PipelineStage.PARSE, action, now_ms)
            entry = action.entry()
        except Exception as error:  # noqa: BLE001 - no record may stop the job
            return refused_action(record, PipelineStage.PARSE, f"{type(error).__name__}: a defect of the job", now_ms)
        if action.customer_id != record.routing_key:
            return refused_action(record, PipelineStage.ROUTE, why_key_differs(record.payload), now_ms)
        return self._act(record, entry, read_state, now_ms)

    def _act(self, record: SourceRecord, entry: Entry, read_state: Callable[[], bytes | None], now_ms: int) -> Outcome:
        """Add an action to the state of its customer, who may have no other state."""
        customer_id, recent = record.routing_key, self._recent
        known = None if recent is None else recent.take(customer_id, now_ms)
        blob = read_state() if known is None else None
        letters: tuple[DeadLetter, ...] = ()
        try:
            state = CustomerFraudState(blob) if known is None else known
        except StateCorrupt as damage:
            state = CustomerFraudState()
            letters = (incident(record, DeadLetterReason.STATE_CORRUPT, PipelineStage.STATE, str(damage), now_ms),)
        except StateVersionUnsupported as problem:
            return refused_action(record, PipelineStage.STATE, str(problem), now_ms)
        actions, change = (state.actions or AccountActions()).with_action(entry, now_ms)
        if change is not ActionChange.APPLIED:
            self._give_back(customer_id, known)
            if change is ActionChange.TOO_MANY:
                return refused_action(record, PipelineStage.STATE, TOO_MANY_ACTIONS, now_ms)
            return Outcome(customer_id=customer_id, account_action=ActionOutcome.OUTDATED)
        state.actions = actions
        stored = state.to_bytes() if recent is None else recent.keep(customer_id, state, now_ms)
        return Outcome(stored, letters=letters, customer_id=customer_id, account_action=ActionOutcome.APPLIED)

    def _give_back(self, customer_id: str, known: CustomerFraudState | None) -> None:
        """Put a state that came from the cache back, unless it may be half changed."""
        is_changing, self._is_changing = self._is_changing, False
        if known is not None and self._recent is not None:
            if is_changing:
                self._recent.lose(customer_id)
            else:
                self._recent.put_back(customer_id)

    def _score(
        self,
        transaction: Transaction,
        state: CustomerFraudState,
        fingerprint: int,
        record: SourceRecord,
        letters: tuple[DeadLetter, ...],
        now_ms: int,
    ) -> Outcome:
        """Score a transaction against its customer's state, then add it to that state."""
        amount = major_amount(transaction.amount_minor, transaction.currency)
        features = extract_features(state, transaction, amount, self._is_blacklisted)
        verdict = self._rules.evaluate(features)
        standing = None if state.actions is None else state.actions.at(transaction)
        suppressed: tuple[Entry, ...] = ()
        if standing is not None:
            verdict, suppressed = without_suppressed(verdict, standing)
        lineup = self.lineup
        opinion, slot, is_trial = lineup.ask(features, transaction)
        score, threshold = self._blender.score(verdict, opinion.ml_score, slot.own_blend)
        if lineup.shadow is not None:
            opinion = opinion._replace(shadow=self._shadow_score(features, transaction, verdict))
        behind = state.behind_ms(transaction.event_time_ms)
        decision = build_decision(
            transaction, features, verdict, opinion, score, threshold, self.config, record, behind, now_ms
        )
        if self._own is not None:
            self._own.write(decision)
        if standing is not None:
            add_actions(decision, standing, suppressed)
        add_probability(decision, slot.probability)
        alert = None
        if decision["is_alert"]:
            contributions = None if opinion.ml_score is None else slot.contributions(features, transaction)
            alert = encode(build_alert(decision, contributions))
        trial = lineup.experiment
        stopped = None if trial is None else self._guarded(opinion, trial, is_trial=is_trial, is_alert=bool(alert))
        if (notices := lineup.take_notices()) or stopped:
            letters = (*letters, *model_incidents(record, notices, stopped, now_ms))
        text = encode(decision)
        self._is_changing = True
        state.observe(transaction, amount, fingerprint, surprise_of(features), self._window)
        stored = state.to_bytes() if self._recent is None else self._recent.keep(transaction.customer_id, state, now_ms)
        self._is_changing = False
        # By position: the names would be looked up for every record.
        return Outcome(
            stored,
            text,
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

    def _shadow_score(
        self, features: FeatureVector, transaction: Transaction, verdict: RuleVerdict
    ) -> ShadowScore | None:
        """Return the shadow model's score of a transaction, ``None`` where it gave none."""
        shadow = self.lineup.shadow
        opinion = NO_OPINION if shadow is None else shadow.opinion(features, transaction)
        if shadow is None or opinion.ml_score is None or opinion.model_version is None:
            return None
        blended, threshold = self._blender.score(verdict, opinion.ml_score, shadow.own_blend)
        return ShadowScore(opinion.model_version, opinion.ml_score, blended.score, blended.score >= threshold)

    def _guarded(
        self, opinion: Opinion, experiment: Experiment, *, is_trial: bool, is_alert: bool
    ) -> StoppedExperiment | None:
        """Report a decision to the guard; return the experiment if it must end: the champion then scores again."""
        why = self.lineup.decided(opinion, is_trial=is_trial, is_alert=is_alert)
        if why is None:
            return None
        self.lineup.use_challenger(None, None)
        return StoppedExperiment(experiment, why)
