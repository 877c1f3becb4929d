"""The command on one host: meets those of other hosts, starts processes, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from dahps_core.doctor import party as parties
from dahps_core.doctor.checks import CHECKS, take_part
from dahps_core.doctor.findings import Examination
from dahps_core.doctor.judging import Diagnosis, judge
from dahps_core.doctor.meeting import Meeting
from dahps_core.doctor.member import STEP_LIMIT_S, Member
from dahps_core.doctor.storage import facts, unavailable
from dahps_core.errors import DahpsError, LedgerError, LedgerUnavailableError
from dahps_core.process.signals import handled
from dahps_core.text.printing import pasted

PROCESSES_ALONE = 4
PROCESSES_PER_HOST = 2  # one writes while the other one reads what another host writes
#: For others to be gone from the scratch folder, in seconds, so that it can be removed.
REMOVAL_LIMIT_S = 5.0


@dataclass(frozen=True)
class Options:
    """What the user requested.

    Attributes:
        folder: That is to hold a ledger; it must be there.
        together: How many commands were started at the same time; None: take it from SLURM.
        wait_s: How long to wait for the others, in seconds.
        seconds: Duration of each check, unless the storage is too slow for that.
    """

    folder: Path
    together: int | None = None
    wait_s: float = 60.0
    seconds: float = 2.0


def diagnose(options: Options) -> Diagnosis | None:
    """Try the storage out; None in all but one of the commands that were started together."""
    if not options.folder.is_dir():
        raise LedgerUnavailableError(
            "there is no such folder",
            where=str(options.folder),
            hint=f"Make it first: mkdir -p {pasted([str(options.folder)])}",
        )
    try:
        with (
            handled((signal.SIGTERM, signal.SIGHUP), _end),
            _gathered(options) as (party, while_waiting),
            _scratch(options, party) as scratch,
        ):
            return _Doctor(options, party, scratch).diagnose(while_waiting)
    except OSError as error:
        raise unavailable(error, options.folder) from error


class _Doctor:
    def __init__(self, options: Options, party: parties.Party, scratch: Path) -> None:
        self._options = options
        self._party = party
        self._scratch = scratch
        self._per_rank = PROCESSES_ALONE if party.size == 1 else PROCESSES_PER_HOST
        self._commands = self._meeting(party.size)

    def diagnose(self, while_waiting: Any) -> Diagnosis | None:
        self._commands.arrive("hello", {**parties.host(), **facts(self._options.folder)})
        self._commands.await_all("hello", self._options.wait_s, while_waiting)
        self._run_members()
        self._commands.arrive("ended")
        if self._party.rank:
            return None
        self._commands.await_all("ended", STEP_LIMIT_S)
        members = self._meeting(self._party.size * self._per_rank)
        reports = {check.name: members.reports(check.name) for check in CHECKS}
        hosts = self._commands.reports("hello")
        return judge(Examination(str(self._options.folder), hosts, self._per_rank, reports))

    def _meeting(self, size: int) -> Meeting:
        return Meeting(self._scratch, self._party.rank, size, lambda rank: f"rank {rank}")

    def _run_members(self) -> None:
        members = [_MemberProcess(self._member(index)) for index in range(self._per_rank)]
        try:
            waiting = {member.answers: member for member in members}
            while waiting:
                for answers in wait(list(waiting)):
                    waiting.pop(answers).raise_its_error()  # type: ignore[call-overload]
        finally:
            for member in members:
                member.end()

    def _member(self, index: int) -> partial[Member]:
        return partial(
            Member,
            self._party.rank,
            index,
            self._party.size,
            self._per_rank,
            self._scratch,
            self._options.seconds,
        )


class _MemberProcess:
    def __init__(self, make_member: partial[Member]) -> None:
        context = get_context("fork")
        self.answers: Connection
        self.answers, answers = context.Pipe(duplex=False)
        arguments = os.getpid(), make_member, answers
        self._process: ForkProcess = context.Process(target=take_part, args=arguments)
        self._process.start()
        answers.close()

    def raise_its_error(self) -> None:
        try:
            error = self.answers.recv()
        except EOFError:
            self.end()
            error = LedgerError(f"a process of the doctor ended with exit code {self._process.exitcode}")
        if error is not None:
            assert isinstance(error, DahpsError)
            raise error

    def end(self) -> None:
        """End it, and whatever it started; may be called twice."""
        if self.answers.closed:
            return
        assert self._process.pid
        try:
            # Before waiting for it: until then no other process gets its number.
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()  # it has not made its group yet
        self._process.join()
        self.answers.close()


@contextmanager
def _gathered(options: Options) -> Iterator[tuple[parties.Party, Any]]:
    """Gather the party; return it with the timeout of each step."""
    if options.together is None or options.together == 1:
        of_slurm = None if options.together else parties.party_of_slurm(os.environ)
        yield of_slurm or parties.alone(), lambda: None
        return
    gathering = parties.Gathering(options.folder, options.together)
    try:
        yield gathering.party(options.wait_s), gathering.beat
    finally:
        gathering.leave()


@contextmanager
def _scratch(options: Options, party: parties.Party) -> Iterator[Path]:
    """Yield the folder for all; the first removes it when all are done, a member that fails removes it at
    once.
    """
    folder = options.folder.absolute() / party.name
    try:
        folder.mkdir(exist_ok=True)
        yield folder
    except BaseException:
        _remove(folder)
        raise
    if party.rank == 0:
        _remove(folder)


def _remove(folder: Path) -> None:
    deadline = time.monotonic() + REMOVAL_LIMIT_S
    while os.path.lexists(folder) and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0 if not os.path.lexists(folder) else 0.1)  # others may still be writing


def _end(number: int, frame: object) -> None:
    """Turn a signal that ends a process into an exception, so that nothing stays behind."""
    raise SystemExit(128 + number)
