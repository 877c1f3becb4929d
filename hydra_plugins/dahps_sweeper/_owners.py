"""Who owns a folder: a sweep's folder belongs to one ledger, and a trial's folder to one trial.

The owner is recorded in the folder itself, in `.dahps`. A rename cannot replace a folder that is not empty,
so one of several processes that claim a folder at once succeeds, on every storage that can hold a ledger.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from dahps_core.errors import ConfigurationError, DahpsError, LedgerDamagedError, LedgerError, NotALedgerError
from dahps_core.ledger import Ledger
from dahps_core.ledger.folder.heartbeat import silent_for_s
from dahps_core.ledger.folder.run_limits import limits_of
from dahps_core.ledger.sqlite.storage_errors import storage_time

MARK = ".dahps"
#: ENOENT: a network file system repeats a rename whose answer was lost.
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)
_MOST_TRIES = 100
_PAUSE_S = 0.02

#: The name of a plain sweep's ledger, in the sweep's folder.
_PLAIN = re.compile(r"ledger-[0-9a-f]{8}")


def plain_ledger(run: str) -> str:
    """Return the name of the ledger that a plain sweep makes in its folder."""
    return f"ledger-{run}"


@dataclass(frozen=True)
class Owner:
    """The owner of a folder.

    Attributes:
        ledger: The ledger's folder; relative to the owned folder if it lies inside of that.
        identity: As `Ledger.identity` returns it; None for a ledger that does not exist yet.
        trial: The number of the trial, if the folder is a trial's.
        run: The multirun, if the folder is a sweep's.
        process: The sweeper, as `_process` names it, if the folder is a sweep's.
    """

    ledger: str
    identity: str | None
    trial: int | None = None
    run: str | None = None
    process: str | None = None

    @classmethod
    def of_sweep(cls, run: str, ledger: str, identity: str | None) -> Owner:
        """Return the owner of the folder of the multirun that this process runs."""
        return cls(ledger, identity, run=run, process=_process(os.getpid()))

    def __str__(self) -> str:
        return ("" if self.trial is None else f"trial {self.trial} of ") + f"the ledger {self.ledger}"

    def is_same(self, other: Owner) -> bool:
        """Return whether `other`, as it was recorded, is this owner."""
        if self.trial != other.trial or other.identity not in (None, self.identity):
            return False
        if self.ledger == other.ledger:
            return True
        with suppress(OSError):
            if os.path.samefile(self.ledger, other.ledger):
                return True
        # A ledger that was moved, or a copy of one that is still there?
        return other.identity is not None and _identity_at(other.ledger) != other.identity

    def replaces(self, other: Owner) -> bool:
        """Return whether this is a plain sweep, run again where an earlier one has ended.

        As with Hydra's basic sweeper, the same command overwrites what it wrote before.
        """
        are_plain = all(_PLAIN.fullmatch(os.path.basename(one.ledger)) for one in (self, other))
        is_another = are_plain and self.ledger != other.ledger
        return is_another and not _is_running(other.process) and not _is_in_use(other.ledger)


def claim(folder: Path, owner: Owner, *, must_be_new: bool = False) -> Owner | None:
    """Make a folder the owner's, unless it belongs to another one; it is created if it is missing.

    Args:
        folder: The folder, absolute.
        owner: The owner to be.
        must_be_new: Whether the folder may not have an owner yet, not even the same ledger.

    Returns:
        The other owner; None if the folder is the owner's.

    Raises:
        DahpsError: The folder cannot be written, or its owner cannot be read.
    """
    mark = folder / MARK
    owner = _seen_from(folder, owner)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(_MOST_TRIES):
            path = next(mark.glob("owner-*.json"), None)
            found = path and _read(path)
            if path is None:
                if _put(mark, owner):
                    return None
                time.sleep(_PAUSE_S)
            elif found == owner or (found and not must_be_new and owner.is_same(found)):
                return None
            elif found and (must_be_new or not owner.replaces(found)):
                return found
            else:
                path.unlink(missing_ok=True)
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
    except OSError as error:
        raise unwritable(mark, error) from error


def claim_sweep(folder: Path, owner: Owner, *, is_chosen: bool) -> Path:
    """Claim a sweep's folder; if its name was not chosen by a person, the first free one of name, name-2, ...

    Returns:
        The claimed folder.

    Raises:
        ConfigurationError: The chosen folder belongs to another ledger.
    """
    for candidate in [folder] if is_chosen else _numbered(folder):
        other = claim(candidate, owner, must_be_new=not is_chosen)
        if other is None:
            return candidate
    raise ConfigurationError(
        f"the folder {folder} belongs to {other}",
        where="hydra.sweep.dir",
        hint="Give another hydra.sweep.dir, or remove the folder if its contents are not needed",
    )


def expect_writable(folder: Path) -> None:
    """Create a sweep's folder if it is missing, and write into it for a moment.

    Raises:
        DahpsError: That is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(folder, error) from error


def claim_trial(folder: str, owner: Owner) -> None:
    """Claim a trial's folder.

    Raises:
        ConfigurationError: It belongs to another trial.
    """
    other = claim(Path(folder), owner)
    if other is None:
        return
    is_neighbour = replace(other, trial=None) == replace(_seen_from(Path(folder), owner), trial=None)
    belongs_to = f"trial {other.trial}" if is_neighbour else other
    raise ConfigurationError(
        f"trial {owner.trial} cannot write into {folder}, which belongs to {belongs_to}",
        where="hydra.sweep.subdir",
        hint="Add ${hydra.job.num} to the name, so that each trial has a folder of its own",
    )


def unwritable(path: Path, error: OSError) -> DahpsError:
    """Return the error of a path in the sweep's folder that the system refuses to write."""
    return DahpsError(
        f"it cannot be written ({error.strerror})",
        where=str(path),
        hint="Fix that, or give another folder (hydra.sweep.dir=FOLDER), and rerun the same command",
    )


def _numbered(folder: Path) -> Iterator[Path]:
    yield folder
    number = 1
    while True:
        number += 1
        yield folder.with_name(f"{folder.name}-{number}")


def _seen_from(folder: Path, owner: Owner) -> Owner:
    return replace(owner, ledger=os.path.join(folder, owner.ledger))


def _read(path: Path) -> Owner | None:
    """Return the recorded owner; None if there is none any more, or if a crash of the host has cut it off."""
    with suppress(ValueError, TypeError, FileNotFoundError):
        return _seen_from(path.parents[1], Owner(**json.loads(path.read_text(encoding="utf-8"))))
    return None


def _put(mark: Path, owner: Owner) -> bool:
    """Record the owner, unless another one is recorded; return whether it was."""
    token = secrets.token_hex(4)
    prepared = mark.with_name(f"{MARK}-{token}")
    path = prepared / f"owner-{token}.json"
    recorded = replace(owner, ledger=owner.ledger.removeprefix(os.path.join(mark.parent, "")))
    try:
        prepared.mkdir()
        path.write_text(json.dumps(asdict(recorded)), encoding="utf-8")
        path.chmod(0o644)  # whatever the umask: other users of the ledger read it
        prepared.chmod(0o755)
        os.rename(prepared, mark)
    except OSError as error:
        shutil.rmtree(prepared, ignore_errors=True)
        if error.errno in _TAKEN:
            return False
        raise
    return True


def _identity_at(ledger: str) -> str | None:
    with suppress(LedgerError), Ledger.open(ledger) as opened:
        return opened.identity()
    return None


def _process(pid: int) -> str | None:
    """Return a name that no other process on any host has; None where Linux does not give one."""
    with suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        started = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
        return f"{pid} {started} {boot}"
    return None


def _is_running(process: str | None) -> bool:
    """Return whether a process of this host, other than this one, still exists."""
    with suppress(AttributeError, ValueError, IndexError):  # not what `_process` has returned
        pid = int(process.split()[0])  # type: ignore[union-attr]
        return pid != os.getpid() and process == _process(pid)
    return False


@cache
def _is_in_use(ledger: str) -> bool:
    """Return whether a worker of a ledger has not left, and sends heartbeats."""
    try:
        with Ledger.open(ledger) as opened:
            workers = [present.record for present in opened.present_workers()]
    except (NotALedgerError, LedgerDamagedError):
        return False
    folder = Path(ledger)
    now_s = storage_time(folder)
    silences = [(silent_for_s(folder, worker.id, now_s), worker.run) for worker in workers]
    return any(
        silence_s is not None and silence_s < limits_of(folder, run).lease_s for silence_s, run in silences
    )
