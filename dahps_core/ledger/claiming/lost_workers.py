"""Why the trial of a worker that fell silent is considered lost: its identity, and the messages in its
job's logs.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from dahps_core.ledger.sqlite.database import Database

NO_HEARTBEAT = "{} sent no heartbeat for longer than the lease"

#: How SLURM begins a line about an out-of-memory kill, a lost node, a time limit, a cancelled job.
_SLURM = ("slurmstepd:", "srun:")
_LINES = 3

#: The end of a log that is looked through.
_BYTES = 8192


def causes_of_loss(database: Database, dead: Collection[str]) -> dict[str, str]:
    """Return for each dead worker that holds a trial why that trial is lost.

    In no transaction, since a job's log may lie on slow storage.
    """
    if not dead:
        return {}
    rows = database.read(lambda reading: reading.rows("silent_holders", dead=json.dumps(list(dead))))
    return {row["id"]: _cause_of_loss(row) for row in rows}


def _cause_of_loss(worker: sqlite3.Row) -> str:
    job = f" (job {worker['job']})" if worker["job"] else ""
    text = NO_HEARTBEAT.format(f"its worker {worker['host']}:{worker['pid']}{job}")
    paths = [path for path in (worker["log"] or "").split("\n") if path]
    if paths:
        text += f"; log: {', '.join(paths)}"
    return "\n".join([text, *(line for path in paths for line in _of_slurm(Path(path)))])


def _of_slurm(log: Path) -> list[str]:
    """Return SLURM's last message in a job's log."""
    with suppress(OSError):
        if log.is_file():
            with log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _BYTES))
                lines = file.read(_BYTES).decode(errors="replace").splitlines()
            return [line for line in lines if line.startswith(_SLURM)][-_LINES:]
    return []
