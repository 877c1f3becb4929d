"""`dahps show` and `dahps logs`: everything about one trial, and its logs."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import click

from dahps_core.cli.ledger_argument import on_ledger
from dahps_core.cli.text import drawable, say, table
from dahps_core.errors import ConfigurationError, OverrideError
from dahps_core.ledger import Ledger
from dahps_core.ledger.folder.configs import path_of_configs
from dahps_core.ledger.folder.run_commands import command_of, configs_of
from dahps_core.ledger.views.status import AttemptRecord
from dahps_core.model.combination import Value
from dahps_core.model.pace import shown_duration
from dahps_core.model.records import MAY_BE_RETRIED, TrialRecord
from dahps_core.space.overrides import shown_overrides, to_overrides
from dahps_core.text.printing import pasted, printable

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-~=+*#"
#: Number of steps drawn of a history.
_WIDTH = 60


@click.command()
@on_ledger
@click.argument("number", metavar="N", type=click.IntRange(min=0))
def show(ledger: Ledger, number: int) -> None:
    """Show everything about trial N: its overrides to paste, attempts, history, files, and why it failed."""
    trial = _trial(ledger, number)
    attempts = ledger.attempts(number)
    for name, text in _rows(ledger, trial):
        say(f"{name:12}{text}".rstrip())
    if attempts:
        say(f"{'run alone':12}{_alone(ledger, trial, attempts[-1].run)}")
    say(*_attempt_lines(ledger, attempts))
    say(*_history_lines(ledger.history(number)))
    say(*_file_lines(ledger, number, attempts))
    if trial.error is not None:
        say("", *trial.error.splitlines())


@click.command()
@on_ledger
@click.argument("number", metavar="N", type=click.IntRange(min=0))
@click.option("--attempt", type=click.IntRange(min=1), metavar="A", help="of this one, and not of the last")
def logs(ledger: Ledger, number: int, attempt: int | None) -> None:
    """Print the log files of trial N, and those of the job that it ran in, each after its path."""
    _trial(ledger, number)
    attempts = [one for one in ledger.attempts(number) if attempt in (None, one.attempt)]
    if not attempts:
        what = "has not run" if attempt is None else f"has no attempt {attempt}"
        raise ConfigurationError(f"trial {number} {what}", where="logs")
    files = _log_files(attempts[-1])
    if not files:
        raise ConfigurationError(f"no log of trial {number} is known", where="logs")
    for path in files:
        say(f"==> {path} <==")
        for line in _lines_of(path):
            print(line)


def _trial(ledger: Ledger, number: int) -> TrialRecord:
    for trial in ledger.trials_among([number]):
        return trial
    raise ConfigurationError(f"trial {number} was never drawn", where=str(ledger.folder))


def _rows(ledger: Ledger, trial: TrialRecord) -> Iterator[tuple[str, str]]:
    resource = "" if trial.resource is None else f" at {trial.resource}"
    yield "trial", f"#{trial.number}, {trial.state.value}{resource}"
    if ledger.search.space.repetitions > 1:
        yield "repetition", str(trial.repetition)
    yield "overrides", _to_paste(trial)
    if trial.metric is not None:
        yield "metric", str(trial.metric)
    if isinstance(trial.result, dict):
        yield "result", ", ".join(f"{name} {value}" for name, value in trial.result.items())
    for level, metric in trial.metrics.items():
        assert ledger.search.brackets is not None
        yield f"at {ledger.search.brackets.resource(trial.number, level)}", str(metric)


def _alone(ledger: Ledger, trial: TrialRecord, run: str) -> str:
    """Return the command line that runs the trial alone, outside of the search, as it ran in it."""
    command = command_of(ledger.folder, run)
    if command is None:
        return _in_the_search(ledger, trial)
    return f"cd {pasted([command.cwd])} && {pasted(command.of_trial(trial.number))}"


def _in_the_search(ledger: Ledger, trial: TrialRecord) -> str:
    """Explain why no command runs the trial alone."""
    if trial.state not in MAY_BE_RETRIED:
        return "no command is known: a script drew the trial, or an older version started its multirun"
    retry = pasted(["dahps", "retry", str(ledger.folder), str(trial.number)])
    return f"no command is known; it runs before all new trials, after: {retry}"


def _to_paste(trial: TrialRecord) -> str:
    """Quote the overrides for a shell, on one line."""
    try:
        return pasted(_words(trial.combination))
    except OverrideError:
        return shown_overrides(trial.combination)  # Hydra cannot be given it


def _words(values: Mapping[str, Value]) -> list[str]:
    """Return the overrides as words of a command line; raise OverrideError if it cannot carry one."""
    words = to_overrides(values)
    if any("\0" in word for word in words):
        raise OverrideError("a command line cannot carry a NUL")
    return words


def _attempt_lines(ledger: Ledger, attempts: Sequence[AttemptRecord]) -> Iterator[str]:
    if attempts:
        yield ""
        titles = ["attempt", "state", "metric", "started", "took", "host", "job", "configs", "why"]
        yield from table(
            titles, (_attempt_cells(one, configs_of(ledger.folder, one.run)) for one in attempts)
        )


def _attempt_cells(one: AttemptRecord, configs: int | None) -> list[str]:
    took = shown_duration(one.ended_at - one.started_at) if one.ended_at is not None else ""
    why = next((line for line in reversed((one.error or "").splitlines()) if line.strip()), "")
    return [
        str(one.attempt),
        one.state,
        "" if one.metric is None else str(one.metric),
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.started_at)),
        took,
        f"{one.host}:{one.pid}",
        one.job or "",
        "" if configs is None else str(configs),
        why.strip(),
    ]


def _history_lines(history: Sequence[tuple[int, int, float]]) -> Iterator[str]:
    if not history:
        return
    steps = {step: metric for _, step, metric in history}  # of a step that was run again the last word counts
    metrics = [steps[step] for step in sorted(steps)]
    finite = [metric for metric in metrics if math.isfinite(metric)]
    lowest, highest = min(finite, default=0.0), max(finite, default=0.0)
    yield ""
    yield f"{'history':12}{_sparkline(metrics, lowest, highest)}"
    first, last = metrics[0], metrics[-1]
    yield f"{'':12}{len(steps)} steps: first {first:.6g}, last {last:.6g}, from {lowest:.6g} to {highest:.6g}"


def _sparkline(metrics: Sequence[float], lowest: float, highest: float) -> str:
    """Draw one bar for each metric, or for evenly spaced ones if there are too many; a gap where one is not
    finite.
    """
    width = min(_WIDTH, len(metrics))
    drawn = [metrics[len(metrics) * place // width] for place in range(width)]
    step = (highest / 2 - lowest / 2) / (len(_BARS) - 1) or 1.0  # halves: no difference of two is infinite
    bars = drawable(_BARS, _PLAIN_BARS)
    return "".join(
        bars[round((metric / 2 - lowest / 2) / step)] if math.isfinite(metric) else " " for metric in drawn
    )


def _file_lines(ledger: Ledger, number: int, attempts: Sequence[AttemptRecord]) -> Iterator[str]:
    yield ""
    folders = dict.fromkeys(one.output_dir for one in attempts if one.output_dir)
    yield from _named("output", folders)
    yield from _named("logs", dict.fromkeys(str(path) for one in attempts for path in _log_files(one)))
    used = dict.fromkeys(configs_of(ledger.folder, one.run) for one in attempts)
    yield from _named(
        "configs", [str(path_of_configs(ledger.folder, one)) for one in used if one is not None]
    )
    checkpoints = ledger.checkpoint_dir(number)
    yield from _named("checkpoints", [str(checkpoints)] if checkpoints.is_dir() else [])


def _named(name: str, paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        yield f"{name:12}{path}"


def _log_files(attempt: AttemptRecord) -> list[Path]:
    """Return the existing logs of an attempt, its own before those of its job."""
    found: list[Path] = []
    with suppress(OSError):  # of a damaged ledger: no folder has such a name
        found += sorted(Path(attempt.output_dir).glob("*.log")) if attempt.output_dir else []
    found += [Path(path) for path in (attempt.log or "").splitlines()]
    return [path for path in dict.fromkeys(found) if os.path.isfile(path)]


def _lines_of(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="backslashreplace") as file:
        for line in file:
            yield "\t".join(map(printable, line.rstrip("\n").split("\t")))
