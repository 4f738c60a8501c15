"""The two buffers in which a batch of records crosses between Java and Python, and back.

One call for each record costs more than scoring it, so Java's operator hands over many records in one byte array and
gets one byte array back. Both are little-endian: all numbers first, then all bytes, in the order of their lengths.

    batch:   records | for each record: length of the record, length of its state | for each record: record, state
    answer:  records, states, forgotten, outputs | for each state: length of the customer id, length of the state
             | for each forgotten: record | for each output: record, tag, length
             | for each state: customer id, state | outputs

``record`` is the index of a record in the batch. A state's length is -1 where Java sends none, because Python should
have it decoded, and 0 for a customer without a state. *Forgotten* are records whose customer Python does not have
decoded after the batch, in ascending order. ``flink_jobs/crossing`` is the other side.
"""

from collections.abc import Mapping
from struct import pack, unpack_from

from flink_jobs.core.parsing.source_record import SourceRecord, unpack_line


def unpack_batch(batch: bytes, topic: str, actions_topic: str = "") -> tuple[list[SourceRecord], list[bytes | None]]:
    """Return the records of a batch, and the stored state of each: empty without one, ``None`` if it was not sent."""
    size: int = unpack_from("<i", batch)[0]
    lengths: tuple[int, ...] = unpack_from(f"<{2 * size}i", batch, 4)
    at = 4 + 8 * size
    records: list[SourceRecord] = []
    states: list[bytes | None] = []
    for index in range(size):
        end = at + lengths[2 * index]
        records.append(unpack_line(batch[at:end], topic, actions_topic))
        length = lengths[2 * index + 1]
        at = end + max(length, 0)
        states.append(None if length < 0 else batch[end:at])
    return records, states


def pack_answer(
    size: int, states: Mapping[str, bytes], forgotten: list[int], outputs: list[int], messages: list[bytes]
) -> bytes:
    """Return the answer to a batch.

    Args:
        size: number of records of the batch.
        states: the states to store, by customer.
        forgotten: indices of the records whose customer is not decoded.
        outputs: record, tag and length of each output, in one flat list; tag 0 is the main output.
        messages: the bytes of each output.
    """
    numbers = [size, len(states), len(forgotten), len(messages)]
    parts: list[bytes] = []
    for customer_id, state in states.items():
        key = customer_id.encode()
        numbers.append(len(key))
        numbers.append(len(state))
        parts.append(key)
        parts.append(state)
    numbers.extend(forgotten)
    numbers.extend(outputs)
    parts.extend(messages)
    return pack(f"<{len(numbers)}i", *numbers) + b"".join(parts)
