"""Text for people, which does nothing to a terminal, nor to a shell that it is pasted into."""

from __future__ import annotations

import shlex
from collections.abc import Iterable


def printable(text: str) -> str:
    """Return a text on one line that does nothing to a terminal: control characters are escaped."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def printable_lines(text: str) -> str:
    """Return a text as `printable` does, but keep its line ends."""
    return "\n".join(map(printable, text.split("\n")))


def pasted(words: Iterable[str]) -> str:
    """Return a command line that bash and zsh read as exactly these words."""
    return " ".join(map(_quoted, words))


def _escaped(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def _quoted(word: str) -> str:
    return shlex.quote(word) if word.isprintable() else f"$'{''.join(map(_in_quotes, word))}'"


def _in_quotes(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    # In $'...' a \x is one byte: a character is written as the bytes of its UTF-8.
    return char if char.isprintable() else "".join(f"\\x{byte:02x}" for byte in _bytes_of(char))


def _bytes_of(char: str) -> bytes:
    try:
        return char.encode("utf-8", "surrogateescape")  # a byte of a path that is no UTF-8
    except UnicodeEncodeError:
        return char.encode("utf-8", "surrogatepass")
