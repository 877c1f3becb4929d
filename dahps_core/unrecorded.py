"""What a worker could not record, kept beside the trial's own output until the ledger can take it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from dahps_core.combination import Value
from dahps_core.errors import DahpsError

FILE_NAME = "dahps-unrecorded.json"
#: The file's name once the ledger has taken it.
RECORDED_NAME = "dahps-recorded.json"
OUTCOMES = ("finished", "failed", "died")


@dataclass(frozen=True)
class Unrecorded:
    """The end of an attempt that its ledger does not know.

    Attributes:
        number: The trial's.
        attempt: Which of its executions.
        token: The claim's: only the holder's word counts.
        outcome: One of `OUTCOMES`.
        result: What the training function returned.
        metric: The objective in it.
        error: Why the attempt did not finish.
        output_dir: Where it wrote.
        ledger: The ledger's folder, for people to read.
    """

    number: int
    attempt: int
    token: str
    outcome: str
    result: Value
    metric: float | None
    error: str | None
    output_dir: str | None
    ledger: str

    def write(self, folder: str | Path) -> Path:
        """Write it into a folder, as a whole or not at all."""
        path = Path(folder) / FILE_NAME
        half = path.with_suffix(".half")
        with half.open("w", encoding="utf-8", errors="backslashreplace") as file:
            json.dump(asdict(self), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
        return path

    @classmethod
    def read(cls, path: Path) -> Unrecorded:
        """What `write` wrote.

        Raises:
            DahpsError: It cannot be read, or something else wrote it.
        """
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            unrecorded = cls(**found)
        except OSError as error:
            raise DahpsError(f"cannot be read: {error.strerror}", where=str(path)) from error
        except (ValueError, TypeError, RecursionError) as error:
            raise DahpsError("is not what a worker writes", where=str(path)) from error
        unrecorded._expect_types(path)
        return unrecorded

    def _expect_types(self, path: Path) -> None:
        is_right = (
            all(type(value) is int and 0 <= value < 2**63 for value in (self.number, self.attempt))
            and all(isinstance(value, str) for value in (self.token, self.ledger))
            and all(value is None or isinstance(value, str) for value in (self.error, self.output_dir))
            and (self.metric is None or type(self.metric) in (int, float))
            and self.outcome in OUTCOMES
            and (self.outcome == "finished" or self.error is not None)
        )
        if not is_right:
            raise DahpsError("is not what a worker writes", where=str(path))
