"""The limits of a multirun, kept beside the ledger, so that `status` can show when it ends."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dahps_core.ledger.folder.run_clock import FOLDER_NAME, file_of_run
from dahps_core.ledger.sqlite.storage_errors import put_in_place
from dahps_core.text.small_files import read_json

_SUFFIX = ".json"


@dataclass(frozen=True)
class RunLimits:
    """The limits of a multirun, as in `WorkerOptions`; the defaults are those of one that recorded none.

    Attributes:
        only: The branch that it draws from; None: all of the space.
    """

    max_trials: int | None = None
    max_attempts: int = 3
    stop_after_failures: int | None = None
    max_resource_total: float | None = None
    max_time_s: float | None = None
    lease_s: float = 120.0
    only: dict[str, Any] | None = field(default=None, hash=False)


_NAMES = [one.name for one in fields(RunLimits)]


def keep_limits(folder: Path, run: str, limits: RunLimits) -> None:
    """Keep the limits of a multirun, unless one of its workers has; a refusing storage is ignored.

    Args:
        folder: The ledger's.
        run: The multirun's id.
        limits: Of its workers.
    """
    path = file_of_limits(folder, run)
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            put_in_place(path, json.dumps({"run": run, **vars(limits)}))


def limits_of(folder: Path, run: str) -> RunLimits:
    """Return the known limits of a multirun."""
    return _read(file_of_limits(folder, run))[1]


def newest_limits(folder: Path) -> tuple[str, RunLimits] | None:
    """Return the multirun that started last, with its limits; None if none is recorded."""
    with suppress(OSError), os.scandir(folder / FOLDER_NAME) as entries:
        recorded = [entry for entry in entries if entry.name.endswith(_SUFFIX)]
        newest = max(recorded, key=lambda entry: entry.stat().st_mtime_ns, default=None)
        if newest:
            return _read(Path(newest.path))
    return None


def some_limits(folder: Path, most: int) -> Iterator[tuple[str, RunLimits]]:
    """Return the limits of some multiruns, at random, but not of the latest one."""
    with suppress(FileNotFoundError), os.scandir(folder / FOLDER_NAME) as entries:
        kept = [entry for entry in entries if entry.name.endswith(_SUFFIX)]
        some = random.sample(kept, min(most, len(kept)))
        some.sort(key=lambda entry: entry.stat().st_mtime_ns)
        for entry in some[:-1]:
            run, limits = _read(Path(entry.path))
            if file_of_limits(folder, run).name == entry.name:
                yield run, limits


def file_of_limits(folder: Path, run: str) -> Path:
    """Return the file that keeps what bounds a multirun."""
    return file_of_run(folder, run).with_suffix(_SUFFIX)


def _read(path: Path) -> tuple[str, RunLimits]:
    with suppress(OSError, ValueError, AttributeError, KeyError):
        kept = read_json(path)
        limits: dict[str, Any] = {
            name: value for name, value in kept.items() if name in _NAMES and _is_possible(name, value)
        }
        return str(kept["run"]), RunLimits(**limits)
    return "", RunLimits()


def _is_possible(name: str, value: object) -> bool:
    if name == "only":
        return isinstance(value, dict)
    return isinstance(value, int | float) and abs(value) < 2**63
