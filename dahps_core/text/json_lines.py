"""Lines of JSON from a process that may send anything instead: nothing waits, or keeps more than a line."""

from __future__ import annotations

from collections.abc import Iterator


class Lines:
    """The lines in a stream of bytes, which arrives piece by piece.

    Args:
        limit: Bytes of the longest line.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()

    def take_in(self, data: bytes) -> Iterator[bytes]:
        """Yield each line that the data completes, without its end.

        Raises:
            ValueError: A line is too long.
        """
        first, *others = data.split(b"\n")
        self._append(first)
        for other in others:
            yield bytes(self._rest)
            self._rest.clear()
            self._append(other)

    def _append(self, data: bytes) -> None:
        self._rest += data
        if len(self._rest) > self._limit:
            raise ValueError(f"a line of more than {self._limit:,} bytes")
