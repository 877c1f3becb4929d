"""What a multirun leaves to be read: `optimization_results.yaml`, and the last lines of its log."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dahps_core.ledger import Ledger, Search
from dahps_core.ledger.folder.run_limits import RunLimits
from dahps_core.ledger.progress import Progress, ProgressReader
from dahps_core.ledger.views.repetitions import LeftOut
from dahps_core.model.records import TrialRecord
from dahps_core.space.overrides import to_overrides
from dahps_core.text.printing import pasted, printable
from hydra_plugins.dahps_sweeper._owners import unwritable
from hydra_plugins.dahps_sweeper._progress import summarized

log = logging.getLogger(__name__)

FILE_NAME = "optimization_results.yaml"


def save(text: str, path: Path) -> None:
    """Write a file into the sweep's folder.

    Raises:
        DahpsError: It cannot be.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from error


def conclude(ledger: Ledger, folder: Path, limits: RunLimits) -> None:
    """Write the current results, if there are any, and log them.

    Args:
        ledger: Read only.
        folder: The sweep's.
        limits: Of the multirun.
    """
    progress = ProgressReader(ledger).read([limits])
    best, left_out = ledger.best(), ledger.left_out()
    log.info("%s: %s", progress, summarized(progress.counts, best))
    if best is not None:
        at_level = "" if best.resource is None else f" at the highest level, {best.resource}"
        log.info("Best trial #%d: metric %s%s", best.number, best.average or best.metric, at_level)
        log.info("  %s", " ".join(to_overrides(best.combination)))
        log.info("  in %s", printable(best.output_dir or "?"))
    if left_out:
        log.info("%s (rank them too: dahps best --incomplete)", left_out)
    log.info("More: dahps status %s", pasted([str(ledger.folder)]))
    if best is not None:
        save(OmegaConf.to_yaml(_results(ledger.search, best, left_out, progress)), folder / FILE_NAME)


def _results(
    search: Search, best: TrialRecord, left_out: LeftOut | None, progress: Progress
) -> dict[str, Any]:
    """Return the results; the first three names are those of Hydra's Optuna sweeper, for programs that read
    its files.
    """
    results = {
        "name": "dahps",
        "best_params": dict(best.combination),
        "best_value": best.value,
        "best_trial": best.number,
        "best_output_dir": best.output_dir,
        "metric": search.metric,
        "direction": search.direction,
        **{name: getattr(progress, name) for name in ("done", "left", "budget", "unit")},
    }
    if best.average:
        results |= {"best_std": best.average.std, "best_repetitions": best.average.n}
    if left_out is not None:
        results |= {"left_out_combinations": asdict(left_out)}
    if best.resource is not None:
        results |= {"best_resource": best.resource}
    return results
