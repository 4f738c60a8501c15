"""Outcomes that end in a dead letter, and dead letters about incidents beside a record."""

from collections.abc import Iterable, Iterator
from pathlib import PurePath

from flink_jobs.core.dead_letters.letter import encoded_letter
from flink_jobs.core.models.lineup import Notice
from flink_jobs.core.outcome import DeadLetter, Outcome, StoppedExperiment
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage


def rejected(record: SourceRecord, reason: DeadLetterReason, stage: PipelineStage, detail: str, now_ms: int) -> Outcome:
    """Return the outcome of a record that is not scored."""
    # By position: the names would be looked up for every record.
    return Outcome(None, None, None, (_letter(record, reason, stage, detail, Disposition.REJECTED, now_ms),))


def rejected_by_error(
    record: SourceRecord, stage: PipelineStage, error: Exception, letters: tuple[DeadLetter, ...], now_ms: int
) -> Outcome:
    """Return the outcome of a record on which our own code raised an exception.

    The detail gives the exception's type, file and line, never its message: a message may quote card data.

    Args:
        record: the record.
        stage: the stage that raised.
        error: the exception.
        letters: incidents of the same record before the exception.
        now_ms: the job's clock, ms since the epoch.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{PurePath(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}" if trace else "unknown code"
    detail = f"{type(error).__name__} in {place}: a defect of the job; fix it, then redrive"
    letter = _letter(record, DeadLetterReason.PROCESSING_ERROR, stage, detail, Disposition.REJECTED, now_ms)
    return Outcome(letters=(*letters, letter))


def duplicate(record: SourceRecord, now_ms: int) -> Outcome:
    """Return the outcome of a transaction that was scored before."""
    letter = _letter(
        record,
        DeadLetterReason.DUPLICATE_TRANSACTION,
        PipelineStage.DEDUPLICATE,
        "a transaction of this customer with the same id was scored before",
        Disposition.DUPLICATE,
        now_ms,
    )
    return Outcome(None, None, None, (letter,))


def incident(
    record: SourceRecord, reason: DeadLetterReason, stage: PipelineStage, detail: str, now_ms: int
) -> DeadLetter:
    """Return the dead letter about a fault beside a record: in its customer's state, a control message, a model."""
    return _letter(record, reason, stage, detail, Disposition.INCIDENT, now_ms)


def model_incidents(
    record: SourceRecord, notices: Iterable[Notice], stopped: StoppedExperiment | None, now_ms: int
) -> Iterator[DeadLetter]:
    """Yield the dead letters about models that were disabled and about an experiment that was stopped.

    The record itself is scored; its coordinates in the dead letter say when it happened.
    """
    disabled = [f"{item.role} {item.version}: {item.detail}" for item in notices if item.is_cut_off]
    if disabled:
        detail = f"disabled until a control message names the model again: {'; '.join(disabled)}"
        yield incident(record, DeadLetterReason.MODEL_CUT_OFF, PipelineStage.MODEL, detail, now_ms)
    if stopped is not None:
        detail = f"experiment {stopped.experiment.id} with {stopped.experiment.version} stopped: {stopped.why}"
        yield incident(record, DeadLetterReason.EXPERIMENT_STOPPED, PipelineStage.MODEL, detail, now_ms)


def _letter(
    record: SourceRecord,
    reason: DeadLetterReason,
    stage: PipelineStage,
    detail: str,
    disposition: Disposition,
    now_ms: int,
) -> DeadLetter:
    dlq_id, body = encoded_letter(record, reason, stage, detail, disposition, now_ms)
    return DeadLetter(disposition, reason, dlq_id, body)
