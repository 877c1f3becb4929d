"""Which checkpoints stay on the storage: those of the best trials, and of those that may still run."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from dahps_core.ledger import Ledger


def remove_unkept(ledger: Ledger, keep: int | None, max_attempts: int | None = None) -> None:
    """Remove the checkpoints of finished trials that are not among the best ones.

    What others should have removed, and died before they did, is removed as well. The checkpoints of a trial
    that may still run stay, whatever its metric, and so do those of its combination's other repetitions.

    Args:
        ledger: Whose checkpoints.
        keep: The number of the best trials whose checkpoints are kept, or of the best combinations, where
            each is repeated; None: all are kept.
        max_attempts: How often a trial may run; None: unknown, so any that failed may run again.
    """
    if keep is None:
        return
    numbers: list[int] = []
    with suppress(OSError):  # there is none yet, or the storage refuses: the next one tries again
        names = os.listdir(ledger.checkpoint_dir(0).parent)
        numbers += [int(name) for name in names if name.isdecimal()]
    for number in ledger.finished_beyond_best(numbers, keep, max_attempts):
        path = ledger.checkpoint_dir(number)
        if path.is_symlink():  # a rebuilt ledger's, to what the old one keeps
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)  # others may remove it, too
