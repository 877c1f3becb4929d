"""Tables of text, in which nothing is cut and nothing controls the terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from dahps_core.text.printing import printable

#: Number of rows that set the columns' widths; a wider cell that comes later moves the cells to its right.
_MEASURED = 1000

#: No text is folded to less.
_NARROWEST = 20


def say(*lines: str) -> None:
    """Print lines for people, each on one line of the terminal whatever it contains."""
    for line in lines:
        print(printable(line), flush=True)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a line for the titles and for each row; at most one page is held in memory.

    On a terminal, where the last cell does not fit, it continues on the next line.
    """
    printed = ([printable(cell) for cell in row] for row in chain([titles], rows))
    first = list(islice(printed, _MEASURED))
    widths = [max(len(row[column]) for row in first) for column in range(len(titles))]
    for *cells, last in chain(first, printed):
        start = "".join(f"{cell.ljust(width)}  " for cell, width in zip(cells, widths, strict=False))
        for line in folded(last, len(start)):
            yield f"{start}{line}".rstrip()
            start = " " * len(start)


def folded(text: str, indent: int) -> list[str]:
    """Wrap an indented text between words, where a terminal would break inside them."""
    width = shutil.get_terminal_size().columns - indent
    if not sys.stdout.isatty() or width < _NARROWEST:
        return [text]
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def drawable(signs: str, plain: str) -> str:
    """Replace signs that the terminal's encoding lacks with plain ones."""
    try:
        signs.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return plain
    return signs


def fits(line: str) -> bool:
    """Return whether a line fits the terminal; anything but a terminal has room for all."""
    return not sys.stdout.isatty() or len(line) <= shutil.get_terminal_size().columns
