"""What `dahps check` finds in the files beside a ledger's database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dahps_core.errors import LedgerDamagedError
from dahps_core.ledger.repair.care_queries import rows
from dahps_core.ledger.sqlite.database import Database


def faults_of_files(folder: Path, database: Database) -> Iterator[str]:
    """Yield what is wrong with the files of a ledger's workers and trials, a line each."""
    # First the files and then who they are of: what comes in between is no violation.
    checkpoints = _listed(folder / "checkpoints")
    n_drawn = int(database.read(lambda transaction: transaction.value("n_drawn")) or 0)
    for path in checkpoints:
        if path.name.isdecimal() and int(path.name) >= n_drawn:
            yield f"{path}: the checkpoints of a trial that was never drawn"
    for name in ("heartbeats", "runs", "commands"):
        for path in _listed(folder / name):
            if path.exists() and not path.is_file():
                yield f"{path}: is not a regular file"
    beating = {path.name for path in _listed(folder / "heartbeats")}
    known = database.read(lambda transaction: {row["id"] for row in rows(transaction, "workers")})
    for worker in sorted(beating - known):
        yield f"{folder / 'heartbeats' / worker}: the heartbeat of a worker that never registered"


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []  # it has not been needed yet, or is being replaced
    except OSError as error:
        raise LedgerDamagedError(f"cannot be read ({error.strerror})", where=str(folder)) from error
