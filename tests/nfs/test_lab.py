"""The lab is what it says, and leaves nothing."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.nfs import lab as module
from tests.nfs.lab import Lab
from tests.nfs.machine import LabError
from tests.support import wait_until

pytestmark = pytest.mark.nfs

ROOT = Path(__file__).resolve().parents[2]


def kernels():
    """The processes of all labs' kernels on this machine."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if b"linux.uml" in command and b"/dahps-nfs-" in command:
                found.add(process.name)
    return found


@pytest.fixture
def traces(lab_can_be_built):
    """What a lab may leave on this machine."""

    def look():
        interfaces = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True)
        return kernels(), {*Path("/tmp").glob("dahps-nfs-*")}, interfaces.stdout

    return look


def test_three_kernels_share_a_folder(lab):
    file = str(lab.mount_point / "hello")
    lab.clients[0].run(["sh", "-c", 'hostname > "$0"', file])
    assert lab.clients[1].run(["cat", file]) == ["client1"]
    assert lab.server.run(["cat", str(lab.export / "hello")]) == ["client1"]


def test_nothing_else_of_this_machine_can_be_written_to(lab, tmp_path):
    assert lab.clients[0].start(["touch", str(tmp_path / "file")]).wait() == 1
    assert not [*tmp_path.iterdir()]


def test_a_process_that_fails_is_told_with_what_it_wrote(lab):
    with pytest.raises(LabError, match=r"(?s)in client2 exited with 1.*no such thing"):
        lab.clients[1].run(["sh", "-c", "echo no such thing >&2; exit 1"])


def test_a_process_gets_signals_and_ends_with_its_children(lab):
    process = lab.clients[0].start(["sh", "-c", "trap 'echo heard' USR1; echo up; sleep 600 & wait; wait"])
    wait_until(lambda: process.lines == ["up"], 60, "the process")
    process.signal(signal.SIGUSR1)
    wait_until(lambda: process.lines == ["up", "heard"], 60, "its answer")
    process.kill()
    assert process.wait() == -signal.SIGKILL


def test_a_process_whose_kernel_dies_has_no_exit_status(lab):
    process = lab.clients[0].start(["sleep", "600"])
    lab.clients[0].crash()
    assert process.wait() is None
    lab.clients[0].boot()
    assert lab.clients[0].run(["hostname"]) == ["client1"]


def test_an_unplugged_client_waits_for_the_server_and_goes_on(lab):
    file = str(lab.mount_point / "late")
    lab.clients[0].unplug()
    process = lab.clients[0].start(["touch", file])
    assert lab.clients[0].run(["hostname"]) == ["client1"]
    assert process.is_running()
    lab.clients[0].replug()
    assert process.wait() == 0


def test_what_the_server_has_acknowledged_outlives_its_kernel(lab):
    file = str(lab.mount_point / "kept")
    lab.clients[0].run(["sh", "-c", 'echo kept > "$0"; sync "$0"', file])
    lab.server.restart()
    assert lab.clients[1].run(["cat", file]) == ["kept"]


def test_a_lab_leaves_nothing(traces, tmp_path):
    before = traces()
    with Lab(tmp_path / "größer, with spaces") as lab:
        assert len(traces()[0] - before[0]) >= 3
        lab.clients[0].start(["sleep", "600"])
    assert traces() == before


def test_a_guest_that_does_not_boot_is_told_with_the_end_of_its_console(traces, tmp_path):
    before = traces()
    with pytest.raises(LabError, match=r"(?s)server did not boot.*modprobe"), Lab(tmp_path, modules=tmp_path):
        pass
    assert traces() == before


def test_guests_die_with_whoever_started_them(traces, tmp_path):
    before = traces()
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, tmp_path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with owner:
        run_folder = {*owner.stdout.readline().decode().split()}
        assert kernels() > before[0]
        owner.kill()
    wait_until(lambda: kernels() == before[0], 60, "the end of the guests")
    # A process that is killed removes no files.
    for folder in run_folder:
        subprocess.run(["rm", "-r", folder], check=True)
    assert traces() == before


OWNER = """
import sys
from pathlib import Path
from tests.nfs.lab import Lab

before = {*Path("/tmp").glob("dahps-nfs-*")}
with Lab(Path(sys.argv[1])):
    print(*{*Path("/tmp").glob("dahps-nfs-*")} - before, flush=True)
    sys.stdin.read()
"""


def test_without_root_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="as root"):
        Lab(tmp_path).__enter__()


def test_without_its_programs_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(module, "PATH", str(tmp_path))
    with pytest.raises(LabError, match=r"linux.uml.*apt-get install .*user-mode-linux"):
        Lab(tmp_path).__enter__()
