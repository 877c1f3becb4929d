"""A trial that was given a resource, such as epochs, and did not look at it: every rung trains in full."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from dahps_core.ledger.folder.run_clock import file_of_run
from dahps_core.ledger.sqlite.storage_errors import put_in_place

_SUFFIX = ".unread"

ADVICE = (
    "Set hydra.sweeper.strategy.resource_key, write ${dahps:resource} into a config, or read "
    "current_trial().resource"
)


def note_unread(folder: Path, run: str, number: int) -> None:
    """Keep the first trial of a multirun that finished so; where the storage refuses, its log alone has it.

    Args:
        folder: The ledger's.
        run: The multirun's id.
        number: The trial's.
    """
    path = file_of_run(folder, run).with_suffix(_SUFFIX)
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            put_in_place(path, str(number))


def unread(folder: Path, run: str) -> str | None:
    """Return what is wrong with a multirun in which a trial finished so; None if none is known."""
    with suppress(OSError, ValueError):
        return described(int(file_of_run(folder, run).with_suffix(_SUFFIX).read_text()))
    return None


def described(number: int) -> str:
    """Return what is wrong, by the number of such a trial."""
    return f"trial #{number} finished without reading its resource: if none does, every rung trains in full"
