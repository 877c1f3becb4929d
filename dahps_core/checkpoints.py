"""Checkpoints on the shared storage: written as a whole or not at all, and removed when they are no
longer needed.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dahps_core.errors import CheckpointError

if TYPE_CHECKING:
    from dahps_core.ledger import Ledger

#: In the trial's folder.
FILE_NAME = "checkpoint.pt"
#: The end of the name of an unfinished file; before it come the attempt and the writer's own part.
_UNFINISHED = re.compile(re.escape(FILE_NAME) + r"\.(?:([0-9]+)\.)?[0-9a-f]{8}\.unfinished")


def save(
    states: Any, path: Path, before_it_counts: Callable[[], None] = lambda: None, attempt: int = 1
) -> None:
    """Write a checkpoint in place of the one before, which stays whole until the new one is.

    Threads and processes of one attempt may save at once: the last to finish counts. Nothing of the states is
    copied: tensors go to the file from where they are.

    Args:
        states: What `torch.save` takes.
        path: Target, in an existing folder.
        before_it_counts: Called when all is written, and before it takes the place of what was there; if that
            raises, it does not.
        attempt: Of the trial; what earlier ones have not finished is removed.
    """
    import torch

    unfinished = path.with_name(f"{path.name}.{attempt}.{secrets.token_hex(4)}.unfinished")
    try:
        torch.save(states, unfinished)
        _sync(unfinished)
        before_it_counts()
        # Before this one counts: an earlier attempt that still runs must not put its own in place of it.
        remove_unfinished(path.parent, attempt - 1)
        os.replace(unfinished, path)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, FileNotFoundError):
            before_it_counts()  # says why, if a later attempt has removed it
        raise
    _sync(path.parent)


def remove_unfinished(folder: Path, attempt: int) -> None:
    """Remove what writers that were killed have left in a trial's folder, up to this attempt."""
    with suppress(OSError):  # there are no checkpoints, or the storage refuses
        for name in os.listdir(folder):
            found = _UNFINISHED.fullmatch(name)
            if found and int(found[1] or 0) <= attempt:
                (folder / name).unlink(missing_ok=True)


def load(path: Path, *, map_location: Any = None, weights_only: bool = True) -> Any | None:
    """Return the checkpoint at `path`, or None if there is none; tensors are read when they are used.

    Args:
        path: As `save` was given it.
        map_location: As for `torch.load`.
        weights_only: Whether only tensors and plain values are read, and nothing that could run code.

    Raises:
        CheckpointError: It holds something else, or is no checkpoint.
    """
    import torch

    if not path.exists():
        return None
    try:
        return torch.load(path, map_location=map_location, weights_only=weights_only, mmap=True)
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if weights_only and type(error).__name__ == "UnpicklingError":
            what = f"the checkpoint holds more than tensors and plain values ({reason})"
            hint = "If you trust all who can write there: load_checkpoint(weights_only=False)"
        else:
            what = f"the checkpoint cannot be loaded ({reason})"
            hint = "If it is damaged, remove it: the trial restarts from the beginning"
        raise CheckpointError(what, where=str(path), hint=hint) from error


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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
