"""How each multirun was started, kept beside the ledger: its command, and the configs of its trials."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from dahps_core.ledger.sqlite.storage_errors import put_in_place
from dahps_core.text.small_files import read_json

_FOLDER = "commands"


@dataclass(frozen=True)
class RunCommand:
    """The command that started a multirun, and that runs one of its trials alone.

    Attributes:
        before: The words of the command line up to where the trial is named.
        option: The option that names the trial, without its `=N`.
        after: The words behind that.
        cwd: Where the command was given.
        resource_key: The override that passes a trial its resource; None if none does.
        configs: Which of the kept configs its trials are made of; None: unknown.
        sources: What all these configs say, by the name that they are kept under; None: unknown.
    """

    before: Sequence[str]
    option: str
    after: Sequence[str]
    cwd: str
    resource_key: str | None = None
    configs: int | None = None
    sources: str | None = None

    def of_trial(self, number: int) -> list[str]:
        """Return the words that run a trial alone."""
        return [*self.before, f"{self.option}={number}", *self.after]


def keep_command(folder: Path, run: str, command: RunCommand) -> None:
    """Keep the command of a multirun; where the storage refuses, the search continues without it.

    Args:
        folder: The ledger's.
        run: The multirun's id.
        command: Of the multirun.
    """
    with suppress(OSError):
        (folder / _FOLDER).mkdir(exist_ok=True)
        put_in_place(_file(folder, run), json.dumps(asdict(command)))


def command_of(folder: Path, run: str) -> RunCommand | None:
    """Return the command of a multirun, if it is known."""
    with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
        kept = RunCommand(**read_json(_file(folder, run)))
        texts = [
            *kept.before,
            kept.option,
            *kept.after,
            kept.cwd,
            kept.resource_key or "",
            kept.sources or "",
        ]
        if all(isinstance(text, str) for text in texts) and type(kept.configs) in (int, type(None)):
            return kept
    return None


def configs_of(folder: Path, run: str) -> int | None:
    """Return which of the kept configs a multirun's trials are made of; None: unknown, or a script's."""
    command = command_of(folder, run)
    return None if command is None else command.configs


def _file(folder: Path, run: str) -> Path:
    return folder / _FOLDER / f"{run}.json"
