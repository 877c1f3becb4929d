"""What a worker could not record, kept beside the trial's own output until the ledger can take it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from dahps_core.errors import DahpsError
from dahps_core.trial import Ending, Report

FILE_NAME = "dahps-unrecorded.json"
#: Matches that name, and those of further attempts.
PATTERN = "dahps-unrecorded*.json"
#: The file's name once the ledger has taken it.
RECORDED_NAME = "dahps-recorded.json"


def write(folder: str | Path, ending: Ending, ledger: Path) -> Path:
    """Write the end of an attempt into a folder, as a whole or not at all; `ledger` is for people to read.

    What another attempt has left there stays.
    """
    path = Path(folder) / FILE_NAME
    half = path.with_suffix(f".{ending.token[:8]}.half")
    with half.open("w", encoding="utf-8") as file:
        json.dump({**asdict(ending), "ledger": str(ledger)}, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(half, path)
    except OSError:  # there is one, or the file system has no links
        path = path.with_stem(f"{path.stem}-{ending.token[:8]}")
        half.replace(path)
    else:
        half.unlink()
    return path


def read(path: Path) -> Ending:
    """What `write` wrote.

    Raises:
        DahpsError: It cannot be read, or something else wrote it.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found.pop("ledger")
        found["reports"] = tuple(Report(*report) for report in found.get("reports", ()))
        ending = Ending(**found)
    except OSError as error:
        raise DahpsError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        ending = None
    if ending is None or not _is_possible(ending):
        raise DahpsError("is not what a worker writes", where=str(path))
    return ending


def _is_possible(ending: Ending) -> bool:
    has_failed = ending.outcome in ("failed", "died") and isinstance(ending.error, str)
    return (
        all(type(value) is int and 0 <= value < 2**63 for value in (ending.number, ending.attempt))
        and isinstance(ending.token, str)
        and ending.token.isascii()
        and isinstance(ending.output_dir, str | None)
        and (ending.metric is None or type(ending.metric) is float)
        and all(type(step) is int and 0 <= step < 2**63 for step, _ in ending.reports)
        and all(type(metric) is float for _, metric in ending.reports)
        and (has_failed or (ending.outcome == "finished" and ending.error is None))
    )
