"""The detector on Bytewax: state in memory, no recovery store, at-least-once sink. Stops at the end of the topic.

The benchmark runs it with ``python -m bytewax.run bytewax_peer:flow``.
"""

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from common import BROKER, PRODUCER_CONFIG, TRANSACTIONS, decide


def step(state: bytes | None, message: KafkaSourceMessage) -> tuple[bytes | None, list[KafkaSinkMessage]]:
    """Score one transaction of a customer; return the new state and the messages to write."""
    new_state, answers = decide(message.value, message.partition, message.offset, message.key, lambda: state)
    written = [KafkaSinkMessage(answer.key, answer.value, answer.topic) for answer in answers]
    return state if new_state is None else new_state, written


flow = Dataflow("peer")
records = op.input("transactions", flow, KafkaSource([BROKER], [TRANSACTIONS], tail=False, batch_size=1000))
keyed = op.key_on("by customer", records, lambda message: message.key.decode())
answered = op.stateful_flat_map("detector", keyed, step)
op.output("answers", op.key_rm("message", answered), KafkaSink([BROKER], None, add_config=PRODUCER_CONFIG))
