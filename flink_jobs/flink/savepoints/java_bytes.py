"""Read the primitive types of Java's ``DataOutput`` (big-endian), which Flink's snapshots consist of."""

from __future__ import annotations

import struct
from typing import Final, Protocol, overload

_SHORT: Final = struct.Struct(">H")
_INT: Final = struct.Struct(">i")
_LONG: Final = struct.Struct(">q")


class DamagedError(Exception):
    """The bytes end too early or are invalid; the message names the position."""


class Buffer(Protocol):
    """A source of bytes: ``bytes``, or a memory-mapped file."""

    def __len__(self) -> int:
        """Return the number of bytes."""

    @overload
    def __getitem__(self, index: int, /) -> int: ...
    @overload
    def __getitem__(self, index: slice, /) -> bytes: ...


class JavaBytes:
    """A position in a buffer; each read moves it forward.

    Every read raises ``DamagedError`` if the buffer ends inside the value.
    """

    def __init__(self, data: Buffer, at: int = 0) -> None:
        """Start at an offset."""
        self._data = data
        self._length = len(data)
        self.at = at
        if not 0 <= at <= self._length:
            raise DamagedError(f"it ends at byte {self._length:,}, before byte {at:,}")

    @property
    def is_at_end(self) -> bool:
        """Whether all bytes are read."""
        return self.at == self._length

    def raw(self, count: int) -> bytes:
        """Return the next bytes as they are."""
        if count < 0:
            raise DamagedError(f"length {count} at byte {self.at:,}")
        end = self.at + count
        if end > self._length:
            raise DamagedError(f"it ends at byte {self._length:,}, in a value from byte {self.at:,} to {end:,}")
        taken = self._data[self.at : end]
        self.at = end
        return taken

    def byte(self) -> int:
        """Return one byte, 0 to 255."""
        return self.raw(1)[0]

    def short(self) -> int:
        """Return two bytes, unsigned."""
        return int(_SHORT.unpack(self.raw(2))[0])

    def integer(self) -> int:
        """Return four bytes, signed."""
        return int(_INT.unpack(self.raw(4))[0])

    def long(self) -> int:
        """Return eight bytes, signed."""
        return int(_LONG.unpack(self.raw(8))[0])

    def utf(self) -> str:
        """Return a string that ``writeUTF`` wrote: a length in bytes, then text.

        Java's own UTF-8 differs only for NUL and for characters above U+FFFF; a name with such a character is decoded
        differently, without an error.
        """
        return self.raw(self.short()).decode(errors="replace")

    def block(self) -> bytes:
        """Return the bytes of a block: a length, then as many bytes."""
        return self.raw(self.integer())

    def text(self) -> str | None:
        """Return a value of Flink's ``StringSerializer``: length plus one, then UTF-16 units, of variable length."""
        length = self._variable() - 1
        if length < 0:
            return None
        plain = self._data[self.at : self.at + length]
        if plain.isascii() and len(plain) == length:  # one byte a character, as in almost every id
            self.at += length
            return plain.decode()
        units = [self._variable() for _ in range(length)]
        try:
            return struct.pack(f"<{length}H", *units).decode("utf-16-le", errors="surrogatepass")
        except struct.error:
            raise DamagedError(f"no string at byte {self.at:,}") from None

    def _variable(self) -> int:
        """Return a variable-length number: 7 bits a byte, lowest first; the 8th bit is set if more bytes follow."""
        value = shift = 0
        while True:
            part = self.byte()
            value |= (part & 0x7F) << shift
            if part < 0x80:  # noqa: PLR2004 - the eighth bit
                return value
            shift += 7
            if shift > 28:  # noqa: PLR2004 - more than an int holds
                raise DamagedError(f"no number at byte {self.at:,}")
