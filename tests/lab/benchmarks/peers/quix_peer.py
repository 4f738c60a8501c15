"""The detector on Quix Streams: state in RocksDB with a changelog topic. Stops after ``BENCH_EVENTS`` events."""

import os

from common import (
    ALERTS,
    BROKER,
    COMMIT_INTERVAL_S,
    DECISIONS,
    LETTERS,
    PREFIX,
    PRODUCER_CONFIG,
    TRANSACTIONS,
    OutputMessage,
    decide,
)
from quixstreams import Application, State, message_context
from quixstreams.models import Serializer


class Body(Serializer):
    """Serializes the body of a message; the producer takes topic and key separately."""

    def __call__(self, value: OutputMessage, ctx: object) -> bytes:  # noqa: ARG002 - signature of the parent class
        """Return the bytes to write."""
        return value.value


def step(value: bytes | None, key: bytes, _timestamp: int, _headers: object, state: State) -> list[OutputMessage]:
    """Score one transaction of a customer; return the messages to write."""
    context = message_context()
    new_state, answers = decide(value, context.partition, context.offset, key, lambda: state.get_bytes("state"))
    if new_state is not None:
        state.set_bytes("state", new_state)
    return answers


EVENTS = int(os.environ["BENCH_EVENTS"])
seen = 0


def stop_at_the_end(_topic: str, _partition: int, _offset: int) -> None:
    """Count input records and stop after the last one; ``run(count=...)`` would count outputs, alerts included."""
    global seen  # noqa: PLW0603 - one number per process
    seen += 1
    if seen == EVENTS:
        app.stop()


app = Application(
    broker_address=BROKER,
    consumer_group=f"{PREFIX}-quix",
    auto_offset_reset="earliest",
    processing_guarantee=os.environ["BENCH_GUARANTEE"],
    commit_interval=COMMIT_INTERVAL_S,
    state_dir=os.environ["BENCH_STATE_DIR"],
    producer_extra_config=PRODUCER_CONFIG,
    on_message_processed=stop_at_the_end,
    loglevel="WARNING",
)
transactions = app.topic(TRANSACTIONS, value_deserializer="bytes", key_deserializer="bytes")
outputs = {
    name: app.topic(name, value_serializer=Body(), key_serializer="bytes") for name in (DECISIONS, ALERTS, LETTERS)
}
answers = app.dataframe(transactions).apply(step, stateful=True, metadata=True, expand=True)
answers.to_topic(lambda message, _key, _timestamp, _headers: outputs[message.topic], key=lambda message: message.key)

if __name__ == "__main__":
    app.run()
