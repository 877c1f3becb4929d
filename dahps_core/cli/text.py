"""Tables of text, in which nothing is cut and nothing does anything to a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from dahps_core.overrides import printable

#: So many rows decide how wide the columns are; a wider cell that comes later moves those right of it.
_MEASURED = 1000


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A line for the titles and for each row, of which no more than a page is held in memory."""
    printed = ([printable(cell) for cell in row] for row in chain([titles], rows))
    first = list(islice(printed, _MEASURED))
    widths = [max(len(row[column]) for row in first) for column in range(len(titles))]
    for row in chain(first, printed):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
