"""What a person sees while the sweeper waits: a bar on a terminal, lines otherwise."""

from __future__ import annotations

import logging
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dahps_core.ledger import Ledger
from dahps_core.overrides import shown_overrides
from dahps_core.pace import per_hour, shown_duration
from dahps_core.trial import TrialRecord, TrialState

log = logging.getLogger(__name__)


class ProgressDisplay:
    """Shows the ledger's progress; a context manager.

    Args:
        ledger: Read only.
        total: How many trials this multirun is to see to its end, together with others.
    """

    def __init__(self, ledger: Ledger, total: int) -> None:
        self._ledger = ledger
        self._total = total
        self._next = ledger.n_drawn
        self._shown = ""
        console = Console()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[summary]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("dahps", total=total, summary="")

    def __enter__(self) -> ProgressDisplay:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, left: int) -> None:
        """Show what has changed: each new trial's overrides, and the counts; `left` trials are not over."""
        for trial in self._ledger.trials(self._next):
            self.say(f"\t#{trial.number} : {shown_overrides(trial.combination)}")
            self._next = trial.number + 1
        counts = self._ledger.counts()
        summary = summarized(counts, self._ledger.best())
        done = max(0, self._total - left)
        outlook = self._outlook(left)
        self._bar.update(self._task, completed=done, summary=summary + outlook)
        if self._bar.disable and summary != self._shown:
            log.info("%d/%d trials: %s%s", done, self._total, summary, outlook)
            self._shown = summary

    def _outlook(self, left: int) -> str:
        pace = per_hour(end.ended_at for end in self._ledger.last_ends() if end.error is None)
        return f", {shown_duration(3600 * left / pace)} left" if pace and left else ""

    def say(self, line: str) -> None:
        """One line, above the bar where there is one."""
        if self._bar.disable:
            log.info(line)
        else:
            self._bar.console.print(line, markup=False, emoji=False, highlight=False)


def summarized(counts: dict[TrialState, int], best: TrialRecord | None) -> str:
    """The counts that are not zero, and the best metric."""
    parts = [f"{count} {state.value}" for state, count in counts.items() if count]
    if best is not None:
        at_level = "" if best.resource is None else f" at {best.resource}"
        parts.append(f"best {best.average or format(best.metric, '.6g')}{at_level} (#{best.number})")
    return ", ".join(parts) or "none yet"
