"""Whether the trials of a ledger are made of different configs, as `on_change=extend` allows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from dahps_core.ledger.folder.configs import n_configs
from dahps_core.ledger.folder.run_commands import configs_of

if TYPE_CHECKING:
    from dahps_core.ledger.reader import LedgerReader


def finished_by_configs(ledger: LedgerReader) -> dict[int, int]:
    """Count the finished trials that are made of each of the kept configs; empty if these never changed."""
    found: Counter[int] = Counter()
    if n_configs(ledger.folder) > 1:
        for run, n_finished in ledger.finished_by_run().items():
            if (configs := configs_of(ledger.folder, run)) is not None:
                found[configs] += n_finished
    return dict(sorted(found.items()))
