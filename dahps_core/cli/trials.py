"""`dahps trials` and `dahps best`: trials as rows, for people and for programs."""

from __future__ import annotations

import csv
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from heapq import nsmallest
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import click

from dahps_core.cli.combinations import typed
from dahps_core.cli.filters import chosen_values
from dahps_core.cli.ledger_argument import on_ledger
from dahps_core.cli.text import fits, say, table
from dahps_core.errors import ConfigurationError, from_extra
from dahps_core.ledger import Ledger
from dahps_core.ledger.folder.configs import n_configs
from dahps_core.ledger.folder.run_commands import configs_of
from dahps_core.ledger.views.export import AFTER, BEFORE, TrialTable, strict
from dahps_core.ledger.views.listing import Choice
from dahps_core.model.combination import Value, canonical
from dahps_core.model.records import TrialRecord, TrialState
from dahps_core.space.overrides import shown_overrides

#: What may be unknown of a trial; the value None of a key is written as it is.
_KNOWN_BLANK = {*BEFORE, *AFTER}

_TIMES = ("started_at", "ended_at")


#: How a text begins that a spreadsheet runs as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?")

#: In place of a value that a trial has not.
_BLANK: Any = object()


@click.command()
@on_ledger
@click.argument("words", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--state", type=click.Choice([state.value for state in TrialState]), help="only these")
@click.option("--sort", metavar="COLUMN", default="number", help="default: number; metric: best first")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="at most N rows")
@click.option("--columns", metavar="A,B,C", help="these, in this order")
@click.option("--format", "style", type=click.Choice(["table", "csv", "json", "parquet"]), default="table")
@click.option(
    "--spreadsheet",
    is_flag=True,
    help="in csv, put ' before texts that a spreadsheet would take for formulas",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="written instead")
def trials(
    ledger: Ledger,
    words: tuple[str, ...],
    state: str | None,
    sort: str,
    limit: int | None,
    columns: str | None,
    style: str,
    spreadsheet: bool,
    output: Path | None,
) -> None:
    """List trials, one row each; with KEY=VALUE, only trials that match all of them (KEY=a,b: a or b).

    Each key of the space is a column, blank where a trial's branch does not decide it; one with another
    column's name is combination.KEY. Where a terminal is too narrow, the combination is one column. A table
    has values as in overrides; csv and parquet have text as it is and the rest as JSON; json has the
    combination as one object. Times are seconds since the epoch, except in a table.
    """
    if spreadsheet and style != "csv":
        raise ConfigurationError("--spreadsheet is for csv alone", where="trials", hint="Add --format csv")
    spaces = ledger.spaces()
    rows = TrialTable(spaces, partial(configs_of, ledger.folder))
    shown = _chosen_columns(rows, columns, style, _for_people(ledger))
    choice = Choice(None if state is None else TrialState(state), chosen_values(spaces, words))
    listed = islice(_sorted(ledger, choice, rows, sort, limit), limit)
    if style == "parquet":
        _write_parquet(rows, listed, shown, output)
        return
    writers: dict[str, Callable[[_Rows, Sequence[str], TextIO], None]] = {
        "table": _write_table,
        "csv": partial(_write_csv, harmless=_no_formula if spreadsheet else str),
        "json": _write_json,
    }
    with nullcontext(sys.stdout) if output is None else output.open("w", newline="") as out:
        found = ({name: values.get(name, _BLANK) for name in shown} for values in map(rows.row, listed))
        writers[style](found, shown, out)


@click.command()
@on_ledger
@click.option("-k", "n_best", type=click.IntRange(min=1), default=5, help="how many (default: 5)")
@click.option("--incomplete", is_flag=True, help="rank also combinations with missing repetitions")
def best(ledger: Ledger, n_best: int, incomplete: bool) -> None:
    """Show the best trials, the best first. NaN never wins; with rungs, only the highest one counts.

    Where combinations are repeated, those with the best mean over all repetitions, each by its best one;
    n=2/3 says that 2 of 3 have a metric.
    """
    titles = [
        "trial",
        "metric",
        *(["resource"] if ledger.search.brackets else []),
        "output_dir",
        "combination",
    ]
    say(*table(titles, map(_best_cells, ledger.best_trials(n_best, incomplete=incomplete))))
    if not incomplete and (left_out := ledger.left_out()):
        click.echo(f"{left_out} (--incomplete ranks those with a metric)", err=True)


def _best_cells(trial: TrialRecord) -> list[str]:
    level = [] if trial.resource is None else [str(trial.resource)]
    overrides = shown_overrides(trial.combination)
    return [f"#{trial.number}", str(trial.average or trial.metric), *level, trial.output_dir or "", overrides]


_Rows = Iterable[dict[str, Any]]


def _for_people(ledger: Ledger) -> list[str]:
    """Return the columns that people are shown, but for the keys of the space."""
    shown = ["number", "state", "metric"]
    if ledger.search.brackets:
        shown.append("resource")
    if n_configs(ledger.folder) > 1:
        shown.append("configs")
    return shown


def _chosen_columns(rows: TrialTable, columns: str | None, style: str, known: Sequence[str]) -> list[str]:
    if columns is None:
        if style == "json":
            return [*BEFORE, "combination", *AFTER]
        if style != "table":
            return [name for name in rows.columns if name != "combination"]
        return [*known, *rows.keys] if fits("  ".join([*known, *rows.keys])) else [*known, "combination"]
    chosen = columns.split(",")
    for name in chosen:
        _refuse_unknown(rows, name)
    return chosen


def _refuse_unknown(rows: TrialTable, name: str) -> None:
    if name not in rows.columns:
        hint = f"There are {', '.join(rows.columns)}"
        raise ConfigurationError(f"there is no column {name!r}", where="trials", hint=hint)


def _sorted(
    ledger: Ledger, choice: Choice, rows: TrialTable, column: str, limit: int | None
) -> Iterable[TrialRecord]:
    _refuse_unknown(rows, column)
    trials = ledger.listed(choice, best_first=column == "metric")
    if column in ("number", "metric"):
        return trials

    def rank(trial: TrialRecord) -> tuple[int, float, str]:
        value = rows.row(trial).get(column, _BLANK)
        if value is _BLANK or value is None:
            return 2, 0.0, ""
        return (0, value, "") if isinstance(value, int | float) else (1, 0.0, _plain(value))

    # As `sorted`, but with no more trials in memory than are listed.
    return sorted(trials, key=rank) if limit is None else nsmallest(limit, trials, key=rank)


def _write_table(rows: _Rows, columns: Sequence[str], out: TextIO) -> None:
    cells = ([_cell(name, value) for name, value in row.items()] for row in rows)
    for line in table(columns, cells):
        out.write(f"{line}\n")


def _cell(column: str, value: Any) -> str:
    if value is _BLANK or (value is None and column in _KNOWN_BLANK):
        return ""
    if column == "combination":
        return shown_overrides(value)
    if column in _TIMES:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    return value if column in _KNOWN_BLANK and isinstance(value, str) else typed(value)


def _write_csv(rows: _Rows, columns: Sequence[str], out: TextIO, harmless: Callable[[str], str]) -> None:
    writer = csv.writer(out)
    writer.writerow(map(harmless, columns))
    for row in rows:
        writer.writerow(_csv_cell(name, row[name], harmless) for name in columns)


def _csv_cell(column: str, value: Any, harmless: Callable[[str], str]) -> str:
    if value is _BLANK or (value is None and column in _KNOWN_BLANK):
        return ""
    return harmless(value) if isinstance(value, str) else _plain(value)


def _no_formula(text: str) -> str:
    """Return a text as one that a spreadsheet takes for text; one that is a number stays it."""
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def _plain(value: Value) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, float) else canonical(value)


def _write_json(rows: _Rows, columns: Sequence[str], out: TextIO) -> None:
    separator = "[\n"
    for row in rows:
        known = {name: value for name, value in row.items() if value is not _BLANK}
        out.write(separator + json.dumps(strict(known)))
        separator = ",\n"
    out.write("[]\n" if separator == "[\n" else "\n]\n")


def _write_parquet(
    rows: TrialTable, trials: Iterable[TrialRecord], columns: Sequence[str], output: Path | None
) -> None:
    if output is None:
        raise ConfigurationError("parquet is written to a file", where="trials", hint="Name one: -o FILE")
    with from_extra("frames"):
        import_module("pyarrow")
    frame = rows.frame(trials).reset_index()[list(columns)]
    for name in frame.columns:
        frame[name] = _of_one_type(frame[name])
    frame.to_parquet(output, index=False)


def _of_one_type(column: Any) -> Any:
    """Return a column that parquet can hold: text as it is, everything else as JSON."""
    known = column[column.notna()]
    is_plain = (
        known.map(type).nunique() <= 1 and not known.map(lambda value: isinstance(value, list | dict)).any()
    )
    return column if is_plain else column.map(_plain, na_action="ignore")
