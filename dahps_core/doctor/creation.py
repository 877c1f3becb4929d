"""Atomic creation: of all who race for a name, exactly one gets it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from dahps_core.doctor.member import Check

#: Enough for races, and not too much to remove on a storage that is slow at that.
MAX_ROUNDS = 200
KINDS = ("open", "mkdir", "rename")


class Creating(Check):
    """All race for the same names, in three ways; the loser of a name tries the next one at once."""

    name = "creating"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._folder = self.me.folder / "race"
        self._ready = self._folder / f"ready.{self.me.number}"

    def prepare(self) -> None:
        """Prepare the folder, and in it one that is ready to be renamed."""
        self._folder.mkdir(exist_ok=True)
        self._make_ready()

    def run(self) -> dict[str, Any]:
        """Return `won`: the numbers of the names that this member got, over all rounds."""
        won: dict[str, list[int]] = {kind: [] for kind in KINDS}
        rounds = 0
        for number in self.me.rounds():
            if number == MAX_ROUNDS:
                break
            rounds += 1
            for kind in KINDS:
                if self._wins(kind, self._folder / f"{kind}.{number}"):
                    won[kind].append(number)
        return {"won": won, "rounds": rounds}

    def _wins(self, kind: str, path: Path) -> bool:
        try:
            if kind == "open":
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC))
            elif kind == "mkdir":
                path.mkdir()
            else:
                os.rename(self._ready, path)
                self._make_ready()
        except OSError as error:
            # A folder that is not empty cannot be replaced by another one.
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                return False
            raise
        return True

    def _make_ready(self) -> None:
        self._ready.mkdir()
        (self._ready / f"owner.{self.me.number}").touch()


class Owning(Check):
    """The first process checks whose folders exist in the end."""

    name = "owning"

    def run(self) -> dict[str, Any] | None:
        """Return the owner of each renamed folder; None where it cannot be determined."""
        if not self.me.is_first:
            return None
        names = sorted(name for name in os.listdir(self.me.folder / "race") if name.startswith("rename."))
        return {"owners": [(int(name.partition(".")[2]), self._owner(name)) for name in names]}

    def _owner(self, name: str) -> int | None:
        files = os.listdir(self.me.folder / "race" / name)
        return int(files[0].partition(".")[2]) if len(files) == 1 else None
