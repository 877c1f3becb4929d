"""What the columns of a ledger can hold: SQLite itself takes anything anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

#: Seconds since the epoch that no date of Python's is beyond, in any time zone.
_END_OF_TIME = 253_402_200_000.0

#: Of attempts and levels; no search comes near it.
_MANY = 100_000

#: Of a value that a message quotes.
_LONGEST_SHOWN = 40


class Misfit(ValueError):  # noqa: N818 - what was found, not that it is an error
    """A cell holds what no version of DAHPS writes there."""


@dataclass(frozen=True)
class Kind:
    """What a cell can hold.

    Attributes:
        choices: The name of each kind of value that it can, and whether a value is one.
    """

    choices: tuple[tuple[str, Callable[[Any], bool]], ...]

    def __or__(self, other: Kind) -> Kind:
        return Kind(tuple(dict.fromkeys(self.choices + other.choices)))

    def __str__(self) -> str:
        return " or ".join(name for name, _ in self.choices)

    def fits(self, value: object) -> bool:
        """Return whether the cell can hold a value."""
        for _, is_one in self.choices:  # noqa: SIM110 - any() is slower, and every cell that is read comes here
            if is_one(value):
                return True
        return False


#: Column -> what it can hold, in the order of the table's columns.
Shape: TypeAlias = "dict[str, Kind]"


def _kind(name: str, fits: Callable[[Any], bool]) -> Kind:
    return Kind(((name, fits),))


def _count(name: str, end: int) -> Kind:
    return _kind(name, lambda value: type(value) is int and 0 <= value < end)


def _word(*words: str) -> Kind:
    return _kind(f"one of {', '.join(words)}", lambda value: isinstance(value, str) and value in words)


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # bytes that are no UTF-8, as `any_text` gives them
            return False
    return True


def _is_name(value: Any) -> bool:
    return _is_text(value) and "\0" not in value


def _is_time(value: Any) -> bool:
    return type(value) in (float, int) and 0 <= value < _END_OF_TIME


_NULL = _kind("NULL", lambda value: value is None)
_INTEGER = _count("a number from 0 on", 2**63)
_FEW = _count(f"a number from 0 to {_MANY}", _MANY + 1)
_FLAG = _count("0 or 1", 2)
_NUMBER = _kind("a number", lambda value: type(value) in (float, int))
_TIME = _kind("a time in seconds since 1970", _is_time)
_TEXT = _kind("text", _is_text)
_NAME = _kind("text without NUL", _is_name)

_WORKER_STATE = _word("working", "waiting", "left")
_OUTCOME = _word("finished", "failed", "released", "died", "lost", "cancelled")
_STATE = _word("running", "finished", "failed", "released", "queued", "died", "lost", "cancelled")

META: Shape = {
    "id": _INTEGER,
    "created_at": _TIME,
    "strategy": _TEXT,
    "direction": _word("minimize", "maximize"),
    "metric": _TEXT | _NULL,
    "seed": _TEXT,
    "locking": _word("fcntl", "folder"),
    "brackets": _TEXT | _NULL,
    "is_uniform": _FLAG,
}
SPACE: Shape = {
    "id": _INTEGER,
    "digest": _TEXT,
    "definition": _TEXT,
    "added_at": _TIME,
    "cursor": _INTEGER,
    "is_branch": _FLAG,
    "n_enqueued": _INTEGER,
    "n_between": _INTEGER,
}
RUN: Shape = {
    "id": _NAME,
    "folder": _NAME | _NULL,
    "has_finished": _FLAG,
    "n_failed": _INTEGER,
    "is_stopped": _FLAG,
    "is_to_release": _FLAG,
}
PAUSE: Shape = {"id": _INTEGER, "since": _TIME}
WORKER: Shape = {
    "id": _NAME,
    "run": _NAME,
    "host": _TEXT,
    "pid": _INTEGER,
    "job": _TEXT | _NULL,
    "batch": _TEXT | _NULL,
    "log": _NAME | _NULL,
    "branch": _INTEGER | _NULL,
    "state": _WORKER_STATE,
    "started_at": _TIME,
    "ended_at": _TIME | _NULL,
}
TRIAL: Shape = {
    "number": _INTEGER,
    "space": _INTEGER,
    "position": _INTEGER | _NULL,
    "combination": _TEXT,
    "digest": _TEXT,
    "repetition": _INTEGER,
    "state": _STATE,
    "attempts": _FEW,
    "charged": _FEW,
    "pardoned": _FEW,
    "level": _FEW,
    "token": _TEXT | _NULL,
    "worker": _NAME | _NULL,
    "started_at": _TIME | _NULL,
    "ended_at": _TIME | _NULL,
    "output_dir": _NAME | _NULL,
    "error": _TEXT | _NULL,
    "metric": _NUMBER | _NULL,
    "metric_is_nan": _FLAG,
    "result": _TEXT | _NULL,
}
ATTEMPT: Shape = {
    "trial": _INTEGER,
    "attempt": _FEW,
    "token": _TEXT,
    "worker": _NAME,
    "started_at": _TIME,
    "ended_at": _TIME,
    "outcome": _OUTCOME,
    "output_dir": _NAME | _NULL,
    "error": _TEXT | _NULL,
    "level": _FEW,
    "metric": _NUMBER | _NULL,
    "metric_is_nan": _FLAG,
    "result": _TEXT | _NULL,
}
REPORT: Shape = {
    "trial": _INTEGER,
    "attempt": _FEW,
    "step": _INTEGER,
    "metric": _NUMBER | _NULL,
    "metric_is_nan": _FLAG,
}
RUNG: Shape = {
    "bracket": _FEW,
    "level": _FEW,
    "n_ended": _INTEGER,
    "n_top": _INTEGER,
    "n_promoted": _INTEGER,
}
STANDING: Shape = {
    "place": _INTEGER,
    "trial": _INTEGER,
    "bracket": _FEW,
    "level": _FEW,
    "score": _NUMBER | _NULL,
    "is_top": _FLAG,
    "is_promoted": _FLAG,
}

#: All tables, by their names.
TABLES: dict[str, Shape] = {
    "meta": META,
    "space": SPACE,
    "run": RUN,
    "pause": PAUSE,
    "worker": WORKER,
    "trial": TRIAL,
    "attempt": ATTEMPT,
    "report": REPORT,
    "rung": RUNG,
    "standing": STANDING,
}

_OF_WORKER = {name: WORKER[name] for name in ("host", "pid", "job", "log", "run")}
_LISTED_ATTEMPT = {**ATTEMPT, "state": _STATE, "outcome": _STATE, "ended_at": _TIME | _NULL, **_OF_WORKER}
_CHARGED = {"charged": _FEW | _NULL}

#: Statement -> columns of its result, where a cell of that name alone does not say what they can hold.
_OF_STATEMENTS: dict[str, Shape] = {
    "workers": WORKER,
    "last_worker_of_batch": WORKER,
    "present_workers": {**WORKER, "trial": _INTEGER | _NULL},
    "trials_among": {**TRIAL, **{name: kind | _NULL for name, kind in _OF_WORKER.items()}},
    "attempts_of": _LISTED_ATTEMPT,
    "attempts_among": _LISTED_ATTEMPT,
    "results_of_levels": ATTEMPT,
    "last_ends": {**TRIAL, "ended_at": _TIME},
    "ranked_lowest": {"metric": _NUMBER},
    "ranked_highest": {"metric": _NUMBER},
    "ranked_at_level": {"score": _NUMBER},
    "measured_ends": {**ATTEMPT, "metric": _NUMBER},
    "last_durations": {"seconds": _NUMBER},
    "next_charge_of_failed": _CHARGED,
    "next_charge_of_lost": _CHARGED,
    "outlook": {"released": _INTEGER | _NULL, "queued": _INTEGER | _NULL, "worker_state": _WORKER_STATE},
}


def _by_name() -> Shape:
    found: Shape = {}
    for shape in TABLES.values():
        for column, kind in shape.items():
            found[column] = found[column] | kind if column in found else kind
    return found


_BY_NAME = _by_name()


def any_text(data: bytes) -> str:
    """Return any text of SQLite's; one that is no UTF-8 fits no column."""
    return data.decode("utf-8", "surrogateescape")


def misfits(row: Mapping[str, Any] | Any, shape: Shape) -> list[str]:
    """Return what is wrong with the cells of a row, a text each."""
    return [
        _described(column, row[column], kind) for column, kind in shape.items() if not kind.fits(row[column])
    ]


def expect_fits(statement: str, rows: Iterable[Any]) -> None:
    """Expect that the result of a statement holds what its columns can hold.

    Raises:
        Misfit: A cell does not.
    """
    kinds: list[tuple[int, str, Kind]] = []
    for row in rows:
        kinds = kinds or _kinds(statement, tuple(row.keys()))
        for index, column, kind in kinds:
            if not kind.fits(row[index]):
                raise Misfit(f"{_place(row, statement)}: {_described(column, row[index], kind)}")


@cache
def _kinds(statement: str, columns: tuple[str, ...]) -> list[tuple[int, str, Kind]]:
    known = {**_BY_NAME, **_OF_STATEMENTS.get(statement, {})}
    return [(index, name, known[name]) for index, name in enumerate(columns) if name in known]


def _place(row: Any, statement: str) -> str:
    """Return a row's place, as far as its cells say."""
    known = {"number": "trial", "trial": "trial", "id": "row"}
    return next((f"{what} {row[key]!r}" for key, what in known.items() if key in row.keys()), statement)  # noqa: SIM118 - of a row of SQLite


def _described(column: str, value: Any, kind: Kind) -> str:
    shown = repr(value)
    if len(shown) > _LONGEST_SHOWN:
        shown = f"{shown[:_LONGEST_SHOWN]}..."
    return f"{column} is {shown}, not {kind}"
