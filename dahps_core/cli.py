"""The `dahps` command: what a ledger holds, read without disturbing the search; and where one may live."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from dahps_core import cli_care, cli_control
from dahps_core.combination import Value
from dahps_core.doctor import command as doctor
from dahps_core.errors import DahpsError
from dahps_core.ledger import Ledger
from dahps_core.overrides import printable, shown_overrides
from dahps_core.trial import TrialRecord

#: The columns of an export, in order.
COLUMNS = (
    "number",
    "combination",
    "repetition",
    "state",
    "attempts",
    "metric",
    "output_dir",
    "worker",
    "started_at",
    "ended_at",
    "error",
    "level",
    "resource",
    "metrics",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, or 1 with one line on standard error."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for a terminal that lacks a value's characters
    try:
        if "run" in options:  # a command that needs no sound ledger
            return int(options.run(options))
        with Ledger.open(options.ledger) as ledger:
            options.command(ledger, options)
        sys.stdout.flush()
    except DahpsError as error:
        print(f"dahps: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dahps", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="how far the search is, and its best trial")
    status.add_argument("ledger", metavar="LEDGER", help="the ledger's folder")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(command=_status)
    export = commands.add_parser("export", help="all trials, a row each")
    export.add_argument("ledger", metavar="LEDGER", help="the ledger's folder")
    export.add_argument("--format", choices=("csv", "json"), default="csv")
    export.set_defaults(command=_export)
    cli_control.add_to(commands)
    cli_care.add_to(commands)
    doctor.add_to(commands)
    return parser


def _status(ledger: Ledger, options: argparse.Namespace) -> None:
    status = status_of(ledger)
    if options.json:
        json.dump(_strict(status), sys.stdout, indent=2)
        print()
    else:
        _print_status(status)


def status_of(ledger: Ledger) -> dict[str, Any]:
    """What there is to know about a search at a glance."""
    search = ledger.search
    best = ledger.best()
    return {
        "ledger": str(ledger.folder),
        "strategy": search.strategy,
        "seed": search.seed,
        "direction": search.direction,
        "metric": search.metric,
        "space_size": search.space.size,
        "repetitions": search.space.repetitions,
        "drawn": ledger.n_drawn,
        "trials": {state.value: count for state, count in ledger.counts().items()},
        "levels": [vars(rung) for rung in ledger.rungs()],
        "paused": ledger.is_paused(),
        "workers": ledger.worker_counts(),
        "best": row(best) if best else None,
    }


def row(trial: TrialRecord) -> dict[str, Value]:
    """One trial, as `dahps export` gives it; times are seconds since the epoch."""
    values = vars(trial) | {
        "combination": dict(trial.combination),
        "state": trial.state.value,
        "metrics": {str(level): metric for level, metric in trial.metrics.items()},
    }
    return {column: values[column] for column in COLUMNS}


def _print_status(status: dict[str, Any]) -> None:
    repetitions = f" x {status['repetitions']} repetitions" if status["repetitions"] > 1 else ""
    best = status["best"]
    rows = [
        ("ledger", status["ledger"]),
        ("search", f"{status['strategy']}, seed {status['seed']}, {status['direction']}"),
        ("space", f"{status['space_size']:,} combinations{repetitions}, {status['drawn']:,} trials drawn"),
        ("trials", _listed(status["trials"])),
        ("workers", _listed(status["workers"])),
        ("best", "none yet" if best is None else _shown_best(best)),
    ]
    if status["levels"]:
        rows[4:4] = [("levels", _shown_levels(status["levels"]))]
    if best is not None:
        rows += [("", shown_overrides(best["combination"])), ("", best["output_dir"] or "")]
    if status["paused"]:
        rows.append(("paused", shlex.join(["dahps", "resume", status["ledger"]]) + " goes on"))
    for name, text in rows:  # whole, however long: a path that is cut is of no use
        print(f"{name:8}{printable(text)}".rstrip())


def _shown_best(best: dict[str, Any]) -> str:
    where = "" if best["resource"] is None else f" at {best['resource']}"
    return f"{best['metric']}{where} (trial #{best['number']})"


def _shown_levels(levels: list[dict[str, Any]]) -> str:
    return "; ".join(
        f"{one['resource']}: {one['n_ended']} ended"
        + f", {one['n_promoted']} promoted" * (one is not levels[-1])
        for one in levels
    )


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _export(ledger: Ledger, options: argparse.Namespace) -> None:
    writers = {"csv": _write_csv, "json": _write_json}
    writers[options.format](map(row, ledger.trials()), sys.stdout)


def _write_csv(rows: Iterator[dict[str, Value]], out: TextIO) -> None:
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    for values in rows:
        writer.writerow(values | {name: json.dumps(values[name]) for name in ("combination", "metrics")})


def _write_json(rows: Iterator[dict[str, Value]], out: TextIO) -> None:
    separator = "[\n"
    for values in rows:
        out.write(separator + json.dumps(_strict(values)))
        separator = ",\n"
    out.write("[]\n" if separator == "[\n" else "\n]\n")


def _strict(value: Any) -> Any:
    """JSON has no NaN and no infinities: they become strings, which readers of numbers understand."""
    if isinstance(value, dict):
        return {key: _strict(element) for key, element in value.items()}
    if isinstance(value, list):
        return [_strict(element) for element in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
