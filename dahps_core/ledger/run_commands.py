"""The command that started each multirun, kept beside the ledger: what runs one of its trials alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from dahps_core.ledger.storage import put_in_place
from dahps_core.small_files import read_json

_FOLDER = "commands"


@dataclass(frozen=True)
class RunCommand:
    """A command that runs one trial, but for the trial's overrides.

    Attributes:
        words: The command line, without what makes it a multirun.
        cwd: Where it was given.
        resource_key: The override that tells a trial its resource; None if none does.
    """

    words: Sequence[str]
    cwd: str
    resource_key: str | None = None


def keep_command(folder: Path, run: str, command: RunCommand) -> None:
    """Keep the command of a multirun; where the storage refuses, the search goes on without.

    Args:
        folder: The ledger's.
        run: The multirun's id.
        command: Of the multirun.
    """
    with suppress(OSError):
        (folder / _FOLDER).mkdir(exist_ok=True)
        put_in_place(_file(folder, run), json.dumps(asdict(command)))


def command_of(folder: Path, run: str) -> RunCommand | None:
    """The command of a multirun, if it is known."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = read_json(_file(folder, run))
        key = kept["resource_key"]
        return RunCommand([str(word) for word in kept["words"]], str(kept["cwd"]), key and str(key))
    return None


def _file(folder: Path, run: str) -> Path:
    return folder / _FOLDER / f"{run}.json"
