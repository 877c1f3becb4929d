"""What a worker could not record, kept beside the trial's own output until the ledger can take it."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict
from pathlib import Path

from dahps_core.errors import DahpsError
from dahps_core.model.records import Ending, Report
from dahps_core.text.small_files import read_json

FILE_NAME = "dahps-unrecorded.json"
#: How later attempts write beside it; an attempt may be unable to record its end while another one's is kept.
PATTERN = "dahps-unrecorded*.json"


def write(folder: str | Path, ending: Ending, ledger: Path) -> Path:
    """Write the end of an attempt into a folder, as a whole or not at all; `ledger` is for people to read."""
    suffix = f"-{ending.attempt}" if ending.attempt > 1 else ""
    path = Path(folder) / FILE_NAME.replace(".", f"{suffix}.")
    half = path.with_name(f"{path.name}.{secrets.token_hex(4)}.half")
    with half.open("w", encoding="utf-8") as file:
        json.dump({**asdict(ending), "ledger": str(ledger)}, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)
    return path


def recorded(path: Path) -> Path:
    """Return the name of a file that `write` has written, once the ledger has taken it."""
    return path.with_name(path.name.replace("-unrecorded", "-recorded"))


def read(path: Path) -> Ending:
    """Read what `write` wrote.

    Raises:
        DahpsError: It cannot be read, or something else wrote it.
    """
    try:
        found = read_json(path)
        found.pop("ledger")
        found["reports"] = tuple(Report(*report) for report in found.get("reports", ()))
        ending = Ending(**found)
    except OSError as error:
        raise DahpsError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, TypeError, KeyError, AttributeError):
        ending = None
    if ending is None or not _is_possible(ending):
        raise DahpsError("was not written by a worker", where=str(path))
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
