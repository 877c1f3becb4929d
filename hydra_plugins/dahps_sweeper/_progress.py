"""What a person sees while the sweeper waits: a line for each trial that ends, and a bar on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from dahps_core.ledger import Ledger
from dahps_core.ledger.progress import Progress
from dahps_core.ledger.views.status import End
from dahps_core.model.pace import shown_duration
from dahps_core.model.records import TrialRecord, TrialState
from dahps_core.space.overrides import shown_overrides
from dahps_core.text.printing import printable

log = logging.getLogger(__name__)


class ProgressDisplay:
    """Shows the ledger's progress; a context manager.

    Args:
        ledger: Read only.
        is_shared: Whether the workers log to the same place: they log the ends of their trials there, and
            would write through a bar.
    """

    def __init__(self, ledger: Ledger, is_shared: bool = False) -> None:
        self._ledger = ledger
        self._is_shared = is_shared
        self._alike = ledger.space.alike()
        self._ended = set(ledger.last_ends())
        self._best = _identity(ledger.best())
        self._shown = ""
        console = Console()
        self._bar = ProgressBar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[progress]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[summary]}"),
            console=console,
            disable=is_shared or not console.is_terminal,
        )
        self._task = self._bar.add_task("dahps", total=None, progress="", summary="")
        self._display = ExitStack()

    def __enter__(self) -> ProgressDisplay:
        before = sys.stdout, sys.stderr
        self._display.enter_context(self._bar)
        self._display.enter_context(_logging_to_the_current_streams(before))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.close()

    def update(self, progress: Progress) -> None:
        """Show what has changed: each trial that has ended, and how far the multirun is."""
        ends, best = self._ledger.last_ends(), self._ledger.best()
        if not self._is_shared:
            for line in self._lines([end for end in reversed(ends) if end not in self._ended], best):
                log.info("%s", line)
        self._ended, self._best = set(ends), _identity(best)
        summary = summarized(progress.counts, best)
        seconds = progress.seconds_left(ends, self._ledger.search.brackets)
        outlook = f", {shown_duration(seconds)} left" if seconds else ""
        self._bar.update(
            self._task,
            total=float(progress.budget),
            completed=float(progress.done),
            progress=str(progress),
            summary=summary + outlook,
        )
        if self._bar.disable and f"{progress}: {summary}" != self._shown:
            self._shown = f"{progress}: {summary}"
            log.info("%s%s", self._shown, outlook)

    def _lines(self, ends: list[End], best: TrialRecord | None) -> Iterator[str]:
        """Return a line for each trial that has ended, in the order of their ends."""
        trials = {trial.number: trial for trial in self._ledger.trials_among({end.number for end in ends})}
        is_new = _identity(best) != self._best
        for end in ends:
            trial = trials[end.number]
            is_best = is_new and best is not None and best.combination == trial.combination
            yield f"#{end.number} {_outcome(end, trial)}{', best so far' * is_best}{self._varying(trial)}"

    def _varying(self, trial: TrialRecord) -> str:
        """Return what distinguishes the trial from others, in parentheses."""
        varying = {key: value for key, value in trial.combination.items() if key not in self._alike}
        words = [shown_overrides(varying)] if varying else []
        if self._ledger.space.repetitions > 1:
            words.append(f"repetition {trial.repetition}")
        return f" ({', '.join(words)})" if words else ""


def _outcome(end: End, trial: TrialRecord) -> str:
    took = f" after {shown_duration(end.ended_at - trial.started_at)}" if trial.started_at is not None else ""
    if end.error is not None:
        return f"failed{took}: {printable(end.error)}"
    at_level = "" if trial.resource is None else f" at {trial.resource}"
    return f"finished: {'no metric' if trial.metric is None else format(trial.metric, '.6g')}{at_level}{took}"


def _identity(best: TrialRecord | None) -> tuple[object, ...]:
    return () if best is None else (best.number, best.level, best.value)


@contextmanager
def _logging_to_the_current_streams(before: tuple[object, object]) -> Iterator[None]:
    """Send logs for the former standard streams to the current ones, which respect the bar."""
    current = dict(zip(map(id, before), (sys.stdout, sys.stderr), strict=True))
    loggers = [logging.root, *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    moved = [
        (handler, handler.stream)
        for handler in {handler for logger in loggers for handler in logger.handlers}
        if isinstance(handler, logging.StreamHandler) and id(handler.stream) in current
    ]
    for handler, stream in moved:
        handler.setStream(current[id(stream)])
    try:
        yield
    finally:
        for handler, stream in moved:
            handler.setStream(stream)


def summarized(counts: Mapping[TrialState, int], best: TrialRecord | None) -> str:
    """Summarize the counts that are not zero, and the best metric."""
    parts = [f"{count} {state.value}" for state, count in counts.items() if count]
    if best is not None:
        at_level = "" if best.resource is None else f" at {best.resource}"
        parts.append(f"best {best.average or format(best.metric, '.6g')}{at_level} (#{best.number})")
    return ", ".join(parts) or "none yet"
