"""Importing results that workers could not record, from files beside their trials' output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from dahps_core.errors import ClaimLost, DahpsError
from dahps_core.ledger.folder import unrecorded
from dahps_core.ledger.ledger import Ledger


def unrecorded_files(places: Iterable[Path]) -> Iterator[Path]:
    """Return the files that workers left, among these files and below these folders."""
    for place in places:
        with suppress(OSError):  # a folder of a damaged ledger may have a name that no folder can have
            if place.is_dir():
                yield from sorted(place.rglob(unrecorded.PATTERN))
            elif place.match(unrecorded.PATTERN):
                yield place


def take_in(ledger: Ledger, path: Path) -> str:
    """Record what a file contains, and rename it; return the outcome, for people.

    Only the holder's word counts: a trial that was claimed again meanwhile refuses it.
    """
    try:
        ending = unrecorded.read(path)
        ledger.end_if_held(ending)
    except ClaimLost:
        return (
            f"{path}: refused: trial #{ending.number} was claimed again since, or belongs to another ledger"
        )
    except DahpsError as error:
        return str(error)
    with suppress(OSError):  # importing it again changes nothing
        path.rename(unrecorded.recorded(path))
    return f"{path}: trial #{ending.number} {ending.outcome}, recorded"
