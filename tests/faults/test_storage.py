"""The faulty storage does what its tests rely on: to a plain program, and to SQLite."""

import errno
import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.faults import storage as module
from tests.faults.storage import KINDS, MUTATING, FaultyStorage
from tests.support import wait_until

WAIT_S = 60
ROOT = Path(__file__).parents[2]

#: One call of each kind on files in the current folder; what comes before the last line prepares it.
CALLS = {
    "open": "os.open('file', os.O_RDONLY)",
    "create": "os.open('new', os.O_WRONLY | os.O_CREAT)",
    "close": "os.close(descriptor)",
    "read": "os.read(descriptor, 1)",
    "write": "os.write(descriptor, b'new')",
    "fsync": "os.fsync(descriptor)",
    "truncate": "os.ftruncate(descriptor, 1)",
    "unlink": "os.unlink('file')",
    "rename": "os.rename('file', 'new')",
    "mkdir": "os.mkdir('new')",
    "link": "os.link('file', 'new')",
    "stat": "os.stat('file')",
    "utime": "os.utime('file')",
    "chmod": "os.chmod('file', 0o600)",
    "lock": "fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
    "unlock": "fcntl.lockf(descriptor, fcntl.LOCK_UN)",
    "lock_test": "fcntl.fcntl(descriptor, fcntl.F_GETLK, bytes(32))",
}

#: Further ways to the same kinds.
OTHER_CALLS = [
    ("open", "os.listdir('.')"),
    ("open", "os.scandir(here)"),
    ("open", "os.open('file', os.O_RDONLY, dir_fd=here)"),
    ("create", "open('new', 'w')"),
    ("read", "os.pread(descriptor, 1, 0)"),
    ("read", "os.readv(descriptor, [bytearray(1)])"),
    ("write", "os.pwrite(descriptor, b'new', 0)"),
    ("write", "os.writev(descriptor, [b'new'])"),
    ("write", "os.sendfile(descriptor, elsewhere, 0, 1)"),
    ("write", "os.write(os.dup(descriptor), b'new')"),
    ("fsync", "os.fdatasync(descriptor)"),
    ("fsync", "os.fsync(here)"),
    ("truncate", "os.truncate('file', 1)"),
    ("unlink", "os.unlink('file', dir_fd=here)"),
    ("unlink", "os.rmdir('folder')"),
    ("rename", "os.replace(os.path.abspath('file'), 'new')"),
    ("rename", "os.rename('file', 'new', src_dir_fd=here, dst_dir_fd=here)"),
    ("mkdir", "os.mkdir('new', dir_fd=here)"),
    ("link", "os.symlink('file', 'new')"),
    ("stat", "os.lstat('file')"),
    ("stat", "os.fstat(descriptor)"),
    ("stat", "os.stat('file', dir_fd=here)"),
    ("stat", "os.readlink('symlink')"),
    ("stat", "os.stat('./folder/../file')"),
    ("utime", "os.utime(descriptor)"),
    ("chmod", "os.chown('file', -1, -1)"),
    ("chmod", "os.fchmod(descriptor, 0o600)"),
    ("lock", "fcntl.lockf(descriptor, fcntl.LOCK_EX)"),
]

HERE = """
import errno, fcntl, os, signal, sqlite3, sys
from tests.faults.storage import FaultyStorage
storage = FaultyStorage.inherited()
"""

FILES = """
elsewhere = os.open(sys.executable, os.O_RDONLY)
descriptor, here = os.open('file', os.O_RDWR | os.O_CREAT | os.O_TRUNC), os.open('.', os.O_RDONLY)
os.path.exists('folder') or os.mkdir('folder')
os.path.exists('symlink') or os.symlink('file', 'symlink')
"""

TABLE = """
connection = sqlite3.connect('table.db', isolation_level=None, timeout=0)
connection.execute('CREATE TABLE IF NOT EXISTS numbers (number)')
"""
INSERT = "connection.execute('INSERT INTO numbers VALUES (1)')\n"


@pytest.fixture
def storage(tmp_path):
    folder = tmp_path / "a b" / "it's: 100%?#ü"
    folder.mkdir(parents=True)
    return FaultyStorage(folder, tmp_path / "control")


@contextmanager
def started(storage, program, *kinds, folder=None, **signals):
    """A Python program on the storage; killed at the end if it has not ended."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | storage.environment(*kinds, **signals)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", HERE + program]
    with subprocess.Popen(
        command, cwd=folder or storage.folder, env=environment, text=True, **pipes
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run(storage, program, *kinds, **options):
    """What a program prints; fails if it does."""
    status, printed, errors = ended(storage, program, *kinds, **options)
    assert (status, errors) == (0, "")
    return printed.strip()


def ended(storage, program, *kinds, **options):
    with started(storage, program, *kinds, **options) as process:
        printed, errors = process.communicate(timeout=WAIT_S)
    return process.returncode, printed, errors


def told(call):
    """A program that prints the name of the error that a call raises, or "done"."""
    return f"""
try:
    {call}
    print("done")
except OSError as error:
    print(errno.errorcode[error.errno])
except sqlite3.Error as error:
    print(error)
finally:
    storage.heal()
"""


def rows(storage):
    with closing(sqlite3.connect(storage.folder / "table.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return connection.execute("SELECT count(*) FROM numbers").fetchone()[0]


def state(process):
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize(("kind", "call"), [*CALLS.items(), *OTHER_CALLS])
def test_a_call_of_this_kind_fails_and_is_counted(storage, kind, call):
    others = [other for other in KINDS if other != kind]
    faults = f"""
before = storage.counts()
storage.fail(errno.EXDEV, *{others})
storage.fail(errno.ESTALE, {kind!r})
"""
    counted = f"print((storage.counts() - before)[{kind!r}])"
    assert run(storage, FILES + faults + told(call) + counted).split() == ["ESTALE", "1"]


@pytest.mark.parametrize(("kind", "call"), [*CALLS.items(), *OTHER_CALLS])
def test_the_same_call_outside_of_the_folder_is_left_alone(storage, tmp_path, kind, call):
    outside = tmp_path / f"{storage.folder}-2"
    outside.mkdir()
    storage.fail(errno.ESTALE)
    assert run(storage, FILES + told(call), folder=outside) == "done"
    assert not storage.counts().total()


def test_every_kind_of_call_has_its_test():
    assert set(CALLS) == set(KINDS) > set(MUTATING)


def test_a_failed_call_has_done_nothing_and_after_healing_it_does(storage):
    failing = "storage.fail(errno.EACCES, 'write')" + told("os.write(descriptor, b'new')")
    healed = "print(os.stat('file').st_size, os.write(descriptor, b'new'))"
    assert run(storage, FILES + failing + healed).split() == ["EACCES", "0", "3"]


def test_a_failed_close_has_closed_all_the_same(storage):
    failing = "storage.fail(errno.EDQUOT, 'close')" + told("os.close(descriptor)")
    assert run(storage, FILES + failing + told("os.fstat(descriptor)")).split() == ["EDQUOT", "EBADF"]


def test_a_running_process_notices_faults_from_outside(storage):
    program = FILES + "print('ready', flush=True); input()" + told("os.stat('file')")
    with started(storage, program) as process:
        assert process.stdout.readline() == "ready\n"
        storage.fail(errno.EIO, "stat")
        assert process.communicate("\n", timeout=WAIT_S) == ("EIO\n", "")


def test_a_folder_behind_a_symlink_and_one_that_is_yet_to_be_made_are_known(storage, tmp_path):
    (tmp_path / "link").symlink_to(storage.folder)
    storage.folder.rmdir()
    storage.fail(errno.EROFS, "mkdir")
    assert run(storage, told(f"os.makedirs({str(storage.folder / 'a' / 'b')!r})"), folder="/") == "EROFS"
    storage.folder.mkdir()
    storage.fail(errno.EROFS, "mkdir")
    assert run(storage, told(f"os.mkdir({str(tmp_path / 'link' / 'a')!r})"), folder="/") == "EROFS"


def test_children_by_fork_and_by_exec_see_the_faults_through_what_they_inherited(storage):
    child = "import os\ntry: os.write({descriptor}, b'x')\nexcept OSError as error: print(error.errno)"
    children = f"""
import subprocess
storage.fail(errno.EIO, "write")
pid = os.fork()
if pid == 0:
    try:
        os.write(descriptor, b"new")
    except OSError as error:
        os._exit(error.errno)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
subprocess.run([sys.executable, "-c", f{child!r}], pass_fds=[descriptor])
"""
    assert run(storage, FILES + children).split() == [str(errno.EIO)] * 2


@pytest.mark.parametrize(
    ("error", "kinds", "message"),
    [
        # Not a damaged file: SQLite says so of any EIO, ERANGE or ENXIO from a read.
        (errno.EIO, ["read"], "database disk image is malformed"),
        (errno.ESTALE, ["read"], "disk I/O error"),
        (errno.EIO, ["write"], "disk I/O error"),
        (errno.EIO, ["fsync"], "disk I/O error"),
        (errno.ESTALE, [], "disk I/O error"),
        (errno.ENOSPC, ["write"], "database or disk is full"),
        (errno.EDQUOT, ["write"], "disk I/O error"),
        (errno.EACCES, ["create"], "attempt to write a readonly database"),
        (errno.EROFS, ["create"], "unable to open database file"),
        (errno.ENOLCK, ["lock"], "database is locked"),
        (errno.EAGAIN, ["lock"], "database is locked"),
    ],
)
def test_sqlite_tells_of_an_error_and_the_transaction_was_not_done(storage, error, kinds, message):
    faults = f"storage.fail({error}, *{kinds})"
    assert run(storage, TABLE + faults + told(INSERT.strip()) + INSERT) == message
    assert rows(storage) == 1


def test_refused_locks_look_like_those_of_somebody_else(storage):
    program = FILES + TABLE + "storage.locks('refused')\n"
    assert run(storage, program + told(INSERT.strip())) == "database is locked"
    asked = "print(int.from_bytes(fcntl.fcntl(descriptor, fcntl.F_GETLK, bytes(32))[:2], sys.byteorder))"
    assert int(run(storage, program + asked)) == fcntl.F_WRLCK


def test_a_blocking_lock_waits_until_refused_locks_are_healed(storage):
    program = FILES + "print('ready', flush=True); fcntl.lockf(descriptor, fcntl.LOCK_EX); print('locked')"
    storage.locks("refused")
    with started(storage, program) as process:
        wait_until(lambda: storage.counts()["lock"], WAIT_S, "a lock to be asked for")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        storage.heal()
        assert process.communicate(timeout=WAIT_S)[0].split() == ["ready", "locked"]


BEGIN = "connection.execute('BEGIN IMMEDIATE')"


@pytest.mark.parametrize(("how", "told_to_second"), [("honest", "database is locked"), ("lying", "done")])
def test_two_writers_at_once_only_with_lying_locks(storage, how, told_to_second):
    storage.locks(how)
    with started(storage, TABLE + BEGIN + "; print('begun', flush=True); input()") as first:
        assert first.stdout.readline() == "begun\n"
        second = "connection = sqlite3.connect('table.db', timeout=0)\n"
        assert run(storage, second + told(BEGIN)) == told_to_second
        first.communicate("\n", timeout=WAIT_S)


def test_two_storages_on_one_folder_have_faults_of_their_own(storage, tmp_path):
    other = FaultyStorage(storage.folder, tmp_path / "other")
    storage.fail(errno.EIO, "create")
    create = told("open('new', 'w')")
    assert run(other, create) == "done"
    assert run(storage, create) == "EIO"


def test_killed_at_every_call_of_a_transaction_before_it_and_after_it(storage):
    insert = f"storage.kill_at(10**6)\n{INSERT}print(storage.passed)"
    n_calls = int(run(storage, TABLE + insert))
    assert n_calls > 10
    kept = {False: [], True: []}
    for after in (False, True):
        for n in range(1, n_calls + 2):
            storage.heal()
            before = rows(storage)
            status, _, _ = ended(storage, f"{TABLE}storage.kill_at({n}, after={after})\n{INSERT}")
            assert status == (-signal.SIGKILL if n <= n_calls else 0)
            assert storage.passed == min(n, n_calls)
            kept[after].append(rows(storage) - before)
    # All or nothing; nothing at the beginning, all at the end, and after a call is before the next one.
    assert kept[False] == sorted(kept[False])
    assert set(kept[False]) == {0, 1}
    assert kept[True] == [*kept[False][1:], 1]


@pytest.mark.parametrize(("after", "size"), [(False, 0), (True, 4)])
def test_a_process_is_killed_right_before_or_right_after_the_call(storage, after, size):
    program = f"{FILES}storage.kill_at(2, 'write', after={after})\nopen('other', 'w').close()\n"
    status, _, _ = ended(storage, program + "os.write(descriptor, b''); os.write(descriptor, b'four')")
    assert status == -signal.SIGKILL
    assert (storage.folder / "file").stat().st_size == size


@pytest.mark.parametrize("call", ["write(descriptor, b'abcdefgh')", "pwrite(descriptor, b'abcdefgh', 3)"])
def test_a_torn_write_is_half_a_write(storage, call):
    program = f"{FILES}storage.tear_at(2)\nos.write(descriptor, b'xyz'); os.{call}; os.unlink('file')"
    status, _, _ = ended(storage, program)
    assert status == -signal.SIGKILL
    assert (storage.folder / "file").read_bytes() == b"xyzabcd"


def test_a_torn_write_into_the_database_is_undone_from_the_journal(storage):
    program = TABLE + f"before = storage.counts()\n{INSERT}print((storage.counts() - before)['write'])"
    n_writes = int(run(storage, program))
    for n in range(1, n_writes + 1):
        status, _, _ = ended(storage, f"{TABLE}storage.tear_at({n})\n{INSERT}")
        assert status == -signal.SIGKILL
        assert rows(storage) == 1


def test_a_stopped_process_goes_on_with_the_call(storage):
    storage.stop_at(1, "unlink")
    with started(storage, TABLE) as process:
        wait_until(lambda: state(process) == "T", WAIT_S, "the stop")
        assert (storage.folder / "table.db-journal").exists()
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=WAIT_S) == ("", "")
    assert not (storage.folder / "table.db-journal").exists()
    assert rows(storage) == 0


def test_the_environment_names_the_victim_and_arming_the_moment(storage):
    writes = FILES + "[os.write(descriptor, b'x') for _ in range(5)]\n"
    armed = writes + "storage.arm()\n[os.write(descriptor, b'y') for _ in range(5)]"
    run(storage, writes, "write", kill_at=3)  # never armed
    run(storage, armed)  # not the victim
    storage.heal()
    assert ended(storage, armed, "write", kill_at=3)[0] == -signal.SIGKILL
    assert (storage.folder / "file").read_bytes() == b"xxxxxyy"
    storage.heal()
    again = (
        writes + "storage.arm(); os.write(descriptor, b'y'); storage.heal()\n" + armed.removeprefix(writes)
    )
    assert ended(storage, again, "write", kill_at=3)[0] == -signal.SIGKILL
    assert (storage.folder / "file").read_bytes() == b"xxxxxyyy"


def test_the_environment_can_stop_a_process_after_a_call_of_some_kind(storage):
    storage.arm()
    program = FILES + "os.write(descriptor, b'one'); os.write(descriptor, b'two')"
    with started(storage, program, "write", stop_at=1, after=True) as process:
        wait_until(lambda: state(process) == "T", WAIT_S, "the stop")
        assert (storage.folder / "file").read_bytes() == b"one"
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=WAIT_S) == ("", "")
    assert (storage.folder / "file").read_bytes() == b"onetwo"


def test_a_delayed_transaction_takes_as_long_as_its_calls_make_it(storage):
    measured = f"""
import time
storage.delay(0.05, 'write', 'fsync')
before, start = storage.counts(), time.monotonic()
{INSERT}
took_s, made = time.monotonic() - start, storage.counts() - before
print(made['write'] + made['fsync'], took_s)
"""
    n_delayed, took_s = run(storage, TABLE + measured).split()
    assert int(n_delayed) > 5
    assert float(took_s) >= int(n_delayed) * 0.05


def test_a_call_that_hangs_comes_back_when_healed(storage):
    storage.hang("stat")
    with started(storage, "os.stat('.'); print('back')") as process:
        wait_until(lambda: storage.counts()["stat"], WAIT_S, "a call")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        storage.heal()
        assert process.communicate(timeout=WAIT_S) == ("back\n", "")


def test_counts_outlive_a_process_that_was_killed(storage):
    storage.kill_at(2, "write")
    ended(storage, FILES + "[os.write(descriptor, b'x') for _ in range(5)]")
    assert storage.counts()["write"] == 2


def test_a_process_that_could_not_be_given_its_faults_does_not_run(storage, tmp_path):
    environment = os.environ | storage.environment()
    for wrong in (str(tmp_path / "missing"), __file__):
        environment["DAHPS_FAULTS_CONTROL"] = wrong
        done = subprocess.run(["true"], env=environment, capture_output=True, text=True, timeout=WAIT_S)
        assert done.returncode == -signal.SIGABRT
        assert "control file is missing, or of another layout" in done.stderr


@pytest.mark.parametrize(
    ("required", "outcome"), [("0", pytest.skip.Exception), ("1", pytest.fail.Exception)]
)
def test_without_gcc_tests_skip_unless_they_are_required(storage, monkeypatch, required, outcome):
    monkeypatch.setenv("DAHPS_REQUIRE_FAULTS", required)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    monkeypatch.setattr(module, "_library", module._library.__wrapped__)
    with pytest.raises(outcome, match="needs Linux and gcc"):
        storage.environment()
