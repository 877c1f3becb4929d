"""Users who may not do everything, storage that takes nothing: errors say where, whose and what to do."""

import contextlib
import json
import multiprocessing
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from ledger_support import claimed, finish, grid, register

from dahps_core.cli import main
from dahps_core.errors import LedgerError, LedgerUnavailableError
from dahps_core.ledger import FILE_NAME, Ledger
from dahps_core.ledger.folder.heartbeat import FOLDER_NAME
from dahps_core.ledger.sqlite import database
from dahps_core.model.records import TrialState
from dahps_core.worker.worker import Job, Worker, WorkerOptions
from tests.support import skip_unless_required, wait_until

SEARCH = grid(*range(4))
GROUP = 61_234  # nobody is in it but who is put there
WAIT_S = 60
LEASE_S = 1.0
ADVICE = "chmod -R g+rwX"
CONTEXT = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class User:
    """Another user, in the group `GROUP`, as processes of whom this process forks."""

    name: str
    umask: int = 0o002

    def does(self, act, *arguments):
        """What `act` returned or raised, done by the user."""
        child, answers = self._forked(act, arguments)
        with answers:
            answer = answers.recv() if answers.poll(WAIT_S) else None
        child.join(WAIT_S)
        assert answer is not None, "the user's process did not answer"
        result, error = answer
        if error is not None:
            raise error
        return result

    @contextlib.contextmanager
    def doing(self, act, *arguments):
        """A process of the user, killed at the end of the block."""
        child, answers = self._forked(act, arguments)
        with answers:
            try:
                yield child
            finally:
                child.kill()
                child.join(WAIT_S)

    def _forked(self, act, arguments):
        answers, answering = CONTEXT.Pipe(duplex=False)
        child = CONTEXT.Process(target=self._become_and_do, args=(act, arguments, answering))
        child.start()
        answering.close()
        return child, answers

    def _become_and_do(self, act, arguments, answering):
        os.setgroups([GROUP])
        os.setgid(GROUP)
        os.setuid(pwd.getpwnam(self.name).pw_uid)
        os.umask(self.umask)
        try:
            answering.send((act(*arguments), None))
        except BaseException as error:
            answering.send((None, error))


ANNE, BERT, ROOT = User("daemon"), User("games"), User("root")


@pytest.fixture(autouse=True)
def _root():
    if os.geteuid() != 0:
        skip_unless_required("FAULTS", "only root can act for other users")


@pytest.fixture
def place():
    """A folder that all users can come to; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="dahps ü ") as folder:
        if not all(parent.stat().st_mode & 0o001 for parent in Path(folder).parents):
            skip_unless_required(
                "FAULTS", f"other users cannot come to {folder}: set TMPDIR to a place where they can"
            )
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def shared(place):
    """The folder of a group, in which all that is made belongs to it."""
    return folder_of(place / "shared", "root", 0o2775)


@pytest.fixture(params=["fcntl", "folder"])
def locking(request):
    return request.param


def folder_of(path, owner, mode):
    path.mkdir()
    os.chown(path, pwd.getpwnam(owner).pw_uid, GROUP)
    path.chmod(mode)
    return path


def joined(folder, locking="fcntl"):
    return Ledger.join(folder, SEARCH, locking=locking, patience_s=0.2)


def one_trial(folder, locking="fcntl"):
    """Make or join the ledger and finish a trial; returns its number."""
    with joined(folder, locking) as ledger:
        claim = claimed(ledger, register(ledger))
        finish(ledger, claim, metric=float(claim.number))
        return claim.number


def work(folder, locking, started=None):
    """A worker; with a file for it to say so, its first attempt does not end."""

    def evaluate(trial):
        if started and trial.attempt == 1:
            started.write_text(str(trial.number))
            signal.pause()
        return float(trial.number)

    options = WorkerOptions(None, 3, None, heartbeat_s=0.1, lease_s=LEASE_S, isolate=True)
    Worker(joined(folder, locking), "run", lambda trial: Job(lambda: evaluate(trial), ""), options).work()


def dahps(*command):
    """What a command prints, or the one line that it complains with."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as complaints:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(complaints):
            code = main([*map(str, command)])
        file = complaints if code else out
        file.seek(0)
        return file.read()


def status(folder):
    """What `dahps status` tells, or its complaint."""
    told = dahps("status", "--json", folder)
    return json.loads(told) if told.startswith("{") else told


def refused(user, act, *arguments):
    with pytest.raises(LedgerUnavailableError) as caught:
        user.does(act, *arguments)
    return str(caught.value)


def assert_tells(error, path, owner, mode, advice=ADVICE):
    assert error.startswith(f"{path}: "), error
    assert f"owner {owner}, mode {mode}" in error
    assert advice in error


class TestOthersFolders:
    def test_a_ledger_cannot_be_made_where_one_may_not_write(self, place):
        folder = folder_of(place / "hers", "daemon", 0o755)
        assert_tells(refused(BERT, joined, folder / "a" / "b"), folder, "daemon", "drwxr-xr-x")
        assert_tells(refused(BERT, joined, folder), folder, "daemon", "drwxr-xr-x")
        assert list(folder.iterdir()) == []

    def test_a_folder_that_one_may_not_even_enter(self, place, locking):
        folder = folder_of(place / "hers", "daemon", 0o700)
        ANNE.does(one_trial, folder, locking)
        assert_tells(refused(BERT, joined, folder, locking), folder, "daemon", "drwx------")
        assert_tells(refused(BERT, joined, folder / "deeper", locking), folder, "daemon", "drwx------")
        for command in ("status", "check"):
            complaint = BERT.does(dahps, command, folder)
            assert f"{folder}: the storage refused: Permission denied (owner daemon" in complaint
            assert ADVICE in complaint

    def test_a_ledger_that_one_may_not_write(self, place):
        folder = folder_of(place / "hers", "daemon", 0o777)
        User("daemon", umask=0o022).does(one_trial, folder)
        error = refused(BERT, joined, folder)
        assert_tells(error, folder / FILE_NAME, "daemon", "-rw-r--r--")
        assert f"{ADVICE} {folder}" in error.replace("'", ""), "the command can be copied"

    @pytest.mark.parametrize(
        "command", ["pause", "resume", "stop", "cancel 1", "retry 1", "retry --failed", "enqueue x=3"]
    )
    def test_who_may_only_read_says_nothing_to_the_search(self, place, command):
        folder = folder_of(place / "hers", "daemon", 0o755)
        User("daemon", umask=0o022).does(one_trial, folder)
        name, *words = command.split()
        complaint = BERT.does(dahps, name, folder, *words)
        assert complaint.startswith(f"dahps: {folder}")
        assert ": the storage refused: Permission denied (owner daemon" in complaint
        assert ADVICE in complaint
        assert status(folder)["paused"] is False

    def test_and_an_owner_without_a_name_is_told_by_number(self, place):
        folder = folder_of(place / "theirs", "daemon", 0o700)
        os.chown(folder, 61_235, 61_235)
        assert "owner 61235, mode drwx------" in refused(BERT, joined, folder)


class TestASharedFolder:
    def test_a_strict_umask_is_told_to_the_next_one(self, shared, locking):
        User("daemon", umask=0o077).does(one_trial, shared / "search", locking)
        assert_tells(
            refused(BERT, joined, shared / "search", locking), shared / "search", "daemon", "drwx--S---"
        )

    def test_a_strict_umask_in_a_folder_that_is_open(self, shared):
        User("daemon", umask=0o077).does(one_trial, shared)
        assert_tells(refused(BERT, joined, shared), shared / FILE_NAME, "daemon", "-rw-------")

    def test_what_one_user_began_another_one_ends(self, shared, locking):
        assert [user.does(one_trial, shared / "search", locking) for user in (ANNE, BERT, ANNE, BERT)] == [
            *(0, 1, 2, 3)
        ]

    def test_the_words_of_each_reach_the_workers_of_all(self, shared, locking):
        ANNE.does(one_trial, shared, locking)
        assert "paused" in ANNE.does(dahps, "pause", shared)
        before = BERT.does(noticed, shared)
        assert "resumed" in User("games", umask=0o077).does(dahps, "resume", shared)
        assert ANNE.does(noticed, shared) not in (None, before)

    @pytest.mark.parametrize("umask", [0o002, 0o077])
    def test_users_see_each_other_live_and_die(self, place, shared, locking, umask):
        notes = folder_of(place / "notes", "root", 0o777)
        folder = shared / "search"
        ANNE.does(make_with_heartbeats, folder, locking)
        with User("games", umask).doing(work, folder, locking, notes / "bert's") as dying:
            wait_until((notes / "bert's").exists, WAIT_S, "a trial of the one who dies")
            with ANNE.doing(work, folder, locking, notes / "anne's") as living:
                wait_until((notes / "anne's").exists, WAIT_S, "a trial of the one who lives")
                observers = [ANNE.doing(work, folder, locking), BERT.doing(work, folder, locking)]
                with observers[0], observers[1], Ledger.open(folder) as ledger:
                    dying.kill()
                    wait_until(
                        lambda: (
                            [(t.state, t.attempts) for t in ledger.trials(0)]
                            == [
                                (TrialState.FINISHED, 2),
                                (TrialState.RUNNING, 1),
                                (TrialState.FINISHED, 1),
                                (TrialState.FINISHED, 1),
                            ]
                        ),
                        WAIT_S,
                        "the second attempt of the trial that was lost, and only of that",
                    )
                    assert living.is_alive()

    def test_a_worker_whose_heart_cannot_be_seen_draws_no_trial(self, shared, locking):
        ANNE.does(one_trial, shared, locking)
        folder_of(shared / FOLDER_NAME, "daemon", 0o555)
        error = refused(BERT, work, shared, locking)
        assert_tells(error, shared / FOLDER_NAME, "daemon", "dr-xr-xr-x")
        with Ledger.open(shared) as ledger:
            assert ledger.n_drawn == 1


def noticed(folder):
    with Ledger.open(folder) as ledger:
        return ledger.notice()


def make_with_heartbeats(folder, locking):
    joined(folder, locking).close()
    (folder / FOLDER_NAME).mkdir()


MORE_THAN_THE_CACHE_HOLDS = """
    CREATE TABLE more AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
    SELECT randomblob(100) AS x FROM n
"""


def die_in_a_write(folder, locking="fcntl"):
    """Claim a trial, and be killed before the claim is committed, when the file has been written to."""
    ledger = joined(folder, locking)
    worker = register(ledger)
    change = database.Transaction.change

    def dying(self, query, **parameters):
        if query == "commit":
            self.execute(MORE_THAN_THE_CACHE_HOLDS)
            os.kill(os.getpid(), signal.SIGKILL)
        return change(self, query, **parameters)

    database.Transaction.change = dying
    claimed(ledger, worker)


class TestAReader:
    """Somebody who may read a colleague's ledger and nothing else."""

    OWNER = User("daemon", umask=0o022)

    @pytest.fixture
    def theirs(self, place):
        return folder_of(place / "theirs", "daemon", 0o755)

    def test_sees_how_far_it_is(self, theirs):
        self.OWNER.does(one_trial, theirs)
        before = sorted(theirs.iterdir())
        assert BERT.does(status, theirs)["trials"]["finished"] == 1
        assert sorted(theirs.iterdir()) == before

    def test_sees_the_last_state_while_somebody_is_writing(self, theirs):
        self.OWNER.does(one_trial, theirs)
        wrote, go_on = CONTEXT.Event(), CONTEXT.Event()
        with self.OWNER.doing(write_slowly, theirs, wrote, go_on) as writer:
            assert wrote.wait(WAIT_S)
            assert BERT.does(status, theirs)["drawn"] == 1
            go_on.set()
            writer.join(WAIT_S)
        assert BERT.does(status, theirs)["drawn"] == 2

    def test_is_told_who_can_undo_a_write_that_was_cut_off(self, theirs):
        self.OWNER.does(one_trial, theirs)
        with self.OWNER.doing(die_in_a_write, theirs) as dying:
            dying.join(WAIT_S)
            assert dying.exitcode == -signal.SIGKILL
        complaint = BERT.does(status, theirs)
        assert complaint.startswith(f"dahps: {theirs / FILE_NAME}: "), complaint
        assert "died in the middle of a write" in complaint
        assert f"dahps status {theirs}" in complaint.replace("'", "")
        assert self.OWNER.does(status, theirs)["drawn"] == 1
        assert BERT.does(status, theirs)["drawn"] == 1

    def test_is_told_that_a_lock_folder_takes_write_permission(self, theirs):
        self.OWNER.does(one_trial, theirs, "folder")
        complaint = BERT.does(status, theirs)
        assert_tells(
            complaint.removeprefix("dahps: "),
            theirs / FILE_NAME,
            "daemon",
            "drwxr-xr-x",
            "reading requires the lock",
        )


def write_slowly(folder, wrote, go_on):
    ledger = joined(folder)
    worker = register(ledger)
    change = database.Transaction.change

    def waiting(self, query, **parameters):
        if query == "commit":
            wrote.set()
            go_on.wait(WAIT_S)
        return change(self, query, **parameters)

    database.Transaction.change = waiting
    claimed(ledger, worker)


class TestARealFileSystem:
    """A tmpfs of its own, which is full, or read-only."""

    @pytest.fixture
    def disk(self, place):
        path = place / "disk"
        path.mkdir()
        if shutil.which("mount") is None or mount("-t", "tmpfs", "-o", "size=512k", "dahps", path):
            skip_unless_required("FAULTS", "no tmpfs can be mounted here")
        try:
            yield path
        finally:
            subprocess.run(["umount", "--lazy", path], check=True)

    @pytest.mark.parametrize("pages_left", [0, 1, 2, 3, 5])
    def test_that_is_full_is_told_and_when_there_is_space_again_it_goes_on(self, disk, locking, pages_left):
        folder = disk / "search"
        with Ledger.join(folder, LARGE, locking=locking, patience_s=0.2) as ledger:
            worker = register(ledger)
            finish(ledger, claimed(ledger, worker), metric=0.5)
            fill(disk / "ballast", pages_left)
            acknowledged, error = until_refused(ledger, worker)
            assert "No space left" in str(error)
            assert "Free some space" in str(error)
            assert str(folder) in str(error)
            assert Ledger.open(folder).best().metric == 0.5 if locking == "fcntl" else True
            (disk / "ballast").unlink()
            kept = [trial.number for trial in ledger.trials() if trial.state is TrialState.FINISHED]
            assert set(acknowledged) <= set(kept)
            ledger.retire(worker)
            again = claimed(ledger, register(ledger))
            finish(ledger, again)
            assert [trial.number for trial in ledger.trials()] == [*range(len(list(ledger.trials())))]

    def test_that_is_read_only_can_be_read(self, disk):
        ROOT.does(one_trial, disk / "search")
        assert mount("-o", "remount,ro", disk) == 0
        assert ROOT.does(status, disk / "search")["trials"]["finished"] == 1
        assert "mounted read-only" in refused(ROOT, joined, disk / "search")
        assert mount("-o", "remount,rw", disk) == 0
        assert one_trial(disk / "search") == 1

    def test_that_is_read_only_and_has_a_write_that_was_cut_off(self, disk):
        ROOT.does(one_trial, disk / "search")
        dying = CONTEXT.Process(target=die_in_a_write, args=(disk / "search",))
        dying.start()
        dying.join(WAIT_S)
        assert mount("-o", "remount,ro", disk) == 0
        assert "died in the middle of a write" in status(disk / "search")
        assert mount("-o", "remount,rw", disk) == 0
        assert status(disk / "search")["drawn"] == 1

    def test_that_is_read_only_says_so_where_a_lock_folder_is_needed(self, disk):
        one_trial(disk / "search", "folder")
        assert mount("-o", "remount,ro", disk) == 0
        complaint = status(disk / "search")
        assert "mounted read-only" in complaint
        assert str(disk / "search" / FILE_NAME) in complaint
        assert mount("-o", "remount,rw", disk) == 0
        assert one_trial(disk / "search", "folder") == 1


#: More trials than the disk has space for.
LARGE = grid(*range(10_000))


def mount(*arguments):
    return subprocess.run(["mount", *arguments], capture_output=True).returncode


def fill(path, pages_left):
    """Take all space but so many pages."""
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        os.fsync(file.fileno())
        file.truncate(max(0, file.tell() - 4096 * pages_left))


def until_refused(ledger, worker):
    """Finish trials until there is an error; returns the numbers that were acknowledged, and the error."""
    numbers = []
    try:
        while True:
            claim = claimed(ledger, worker)
            finish(ledger, claim, metric=1.0, result={"filler": "x" * 2000})
            numbers.append(claim.number)
    except LedgerError as error:
        return numbers, error
