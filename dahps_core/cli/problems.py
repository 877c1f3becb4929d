"""What is wrong with a search, a line each, the worst first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dahps_core.ledger.claiming.refusals import is_failing, summarized_nan
from dahps_core.ledger.folder.run_limits import RunLimits
from dahps_core.ledger.views.status import End
from dahps_core.ledger.views.trial_rows import RunRecord
from dahps_core.text.printing import pasted

#: Number of recent ends, of a host or of all, that can show a problem.
_ENOUGH = 3


@dataclass(frozen=True)
class NoWorkers:
    """No worker is alive, though trials are left.

    Attributes:
        left: How many.
        limits: What bounds the multirun that was started last.
        run: How it went; None if that is not known.
    """

    left: int
    limits: RunLimits
    run: RunRecord | None


def troubles(
    ledger: Path,
    ends: Sequence[End],
    present: Sequence[dict[str, Any]],
    no_workers: NoWorkers | None,
    *,
    is_paused: bool,
    unread: str | None = None,
    by_configs: Mapping[int, int],
) -> Iterator[str]:
    """Yield the lines, without the sign in front of each.

    Args:
        ledger: Its folder.
        ends: The last ones.
        present: The workers that have not left, as `overview` describes them.
        no_workers: Whether no worker is alive, though trials are left.
        is_paused: Whether a person has paused the search.
        unread: What is wrong where a trial did not look at its resource.
        by_configs: How many trials finished with each of the kept configs.
    """
    if is_paused:
        yield f"paused; to resume: {pasted(['dahps', 'resume', str(ledger)])}"
    n_silent = sum(worker["is_silent"] for worker in present)
    n_stopped = sum(worker["is_stopped"] and not worker["is_silent"] for worker in present)
    if n_stopped:
        yield f"{n_stopped} of {len(present)} workers were stopped, and exit after their trials"
    if no_workers:
        trials = "1 trial is" if no_workers.left == 1 else f"{no_workers.left:,} trials are"
        why, unless = _why(no_workers, n_silent)
        yield f"{why}, and {trials} left: {unless}rerun the same command to continue"
    elif 0 < n_silent < len(present):
        yield f"{n_silent} of {len(present)} workers are silent; their trials are rerun after all new ones"
    if unread:
        yield unread
    if len(by_configs) > 1:
        counts = ", ".join(f"{n:,} with configs {one}" for one, n in by_configs.items())
        column = pasted(["dahps", "trials", str(ledger), "--columns", "number,metric,configs"])
        yield f"finished trials used different configs ({counts}); to list them: {column}"
    yield from _failures(ends)
    yield from _failing_hosts(ends)


def _why(no_workers: NoWorkers, n_silent: int) -> tuple[str, str]:
    """Explain why no worker is alive, and when that is normal."""
    run, limit = no_workers.run, no_workers.limits.stop_after_failures
    if run and run.is_stopped:
        return "the workers were stopped, by a person or by max_time", ""
    if run and run.n_nan and is_failing(run.n_failed, limit, has_finished=run.has_finished):
        return f"the multirun stopped, as {summarized_nan(run)}", ""
    if run and is_failing(run.n_failed, limit, has_finished=run.has_finished):
        return f"the multirun stopped, as its first {run.n_failed} attempts failed", ""
    silent = f" ({n_silent} silent)" if n_silent else ""
    return f"no worker is alive{silent}", "if no job is queued, "


def _failures(ends: Sequence[End]) -> Iterator[str]:
    errors = Counter(end.error for end in ends if end.error is not None)
    n_failed = sum(errors.values())
    if n_failed >= _ENOUGH and 5 * n_failed >= len(ends):
        error, count = errors.most_common(1)[0]
        number = next(end.number for end in ends if end.error == error)
        yield f"{n_failed} of the last {len(ends)} trials failed, {count} of them as #{number} did: {error}"


def _failing_hosts(ends: Sequence[End]) -> Iterator[str]:
    by_host: dict[str, list[bool]] = defaultdict(list)
    for end in ends:
        by_host[end.host].append(end.error is not None)
    if any(not all(failures) for failures in by_host.values()):
        for host, failures in by_host.items():
            if len(failures) >= _ENOUGH and all(failures):
                yield f"{host}: its last {len(failures)} trials failed, but not those of other hosts"
