"""A customer in a savepoint: key and value of one entry of keyed state, as Flink stored them."""

from __future__ import annotations

import io
import pickle
import struct
from dataclasses import dataclass
from typing import Final

from flink_jobs.core.state.customer import CustomerFraudState
from flink_jobs.flink.savepoints.java_bytes import DamagedError, JavaBytes

_TIME_AND_LENGTH: Final = struct.Struct(">qi")


@dataclass(frozen=True, slots=True)
class StoredCustomer:
    """One customer as stored."""

    customer_id: str
    written_ms: int
    """Processing time of the last transaction (ms, UTC); the time to live starts here."""
    blob: bytes
    """The encoded state; its first byte is the state version."""

    @property
    def version(self) -> int:
        """The state version that wrote the bytes."""
        return self.blob[0] if self.blob else 0

    def state(self) -> CustomerFraudState:
        """Return the decoded state.

        Raises:
            StateError: the bytes are damaged, or a newer release wrote them.
        """
        return CustomerFraudState.from_bytes(self.blob)


def text_of(key: bytes) -> str:
    """Return the text of a key: key group, row of one string, namespace.

    Raises:
        DamagedError: the bytes hold no text.
    """
    source = JavaBytes(key, at=1)  # 128 key groups take one byte
    source.byte()  # bit mask of null fields; the row's only field is never null
    text = source.text()
    if text is None:
        raise DamagedError("the key of an entry is null")
    return text


def customer_of(key: bytes, value: bytes) -> StoredCustomer:
    """Parse one entry; its value is the time of the write and pickled bytes.

    Raises:
        DamagedError: the bytes are no customer.
    """
    customer_id = text_of(key)
    if len(value) < _TIME_AND_LENGTH.size:
        raise DamagedError("an entry is not a customer")
    written_ms, length = _TIME_AND_LENGTH.unpack_from(value)
    pickled = value[_TIME_AND_LENGTH.size :]
    if length != len(pickled):
        raise DamagedError(f"customer {customer_id}: {len(pickled)} bytes instead of {length}")
    try:
        blob = _BytesUnpickler(io.BytesIO(pickled)).load()
    except Exception:  # noqa: BLE001 - damaged pickles raise anything
        raise DamagedError(f"customer {customer_id}: the value is not a Python pickle") from None
    if not isinstance(blob, bytes):
        raise DamagedError(f"customer {customer_id}: the pickle does not hold bytes")
    return StoredCustomer(customer_id, written_ms, blob)


class _BytesUnpickler(pickle.Unpickler):
    """Loads a pickle that may hold bytes only: PyFlink pickles the encoded state."""

    def find_class(self, module_name: str, global_name: str, /) -> object:
        """Refuse every class: loading a class would run code."""
        raise pickle.UnpicklingError(f"{module_name}.{global_name}")
