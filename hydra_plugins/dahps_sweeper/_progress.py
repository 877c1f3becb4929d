"""What a person sees while the sweeper waits: a bar on a terminal, lines otherwise."""

from __future__ import annotations

import logging
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dahps_core.ledger import Ledger
from dahps_core.overrides import shown_overrides
from dahps_core.trial import TrialRecord, TrialState

log = logging.getLogger(__name__)


class ProgressDisplay:
    """Shows the ledger's progress; a context manager.

    Args:
        ledger: Read only.
        total: How many trials the ledger is to hold in the end.
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

    def update(self) -> None:
        """Show what has changed: each new trial's overrides, and the counts."""
        for trial in self._ledger.trials(self._next):
            self._say(f"\t#{trial.number} : {shown_overrides(trial.combination)}")
            self._next = trial.number + 1
        counts = self._ledger.counts()
        summary = summarized(counts, self._ledger.best())
        self._bar.update(self._task, completed=counts[TrialState.FINISHED], summary=summary)
        if self._bar.disable and summary != self._shown:
            log.info("%d/%d trials: %s", counts[TrialState.FINISHED], self._total, summary)
            self._shown = summary

    def _say(self, line: str) -> None:
        if self._bar.disable:
            log.info(line)
        else:
            self._bar.console.print(line, markup=False, emoji=False, highlight=False)


def summarized(counts: dict[TrialState, int], best: TrialRecord | None) -> str:
    """The counts that are not zero, and the best metric."""
    parts = [f"{count} {state.value}" for state, count in counts.items() if count]
    if best is not None:
        parts.append(f"best {best.metric:.6g} (#{best.number})")
    return ", ".join(parts) or "none yet"
