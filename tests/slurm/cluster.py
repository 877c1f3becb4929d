"""A real SLURM of four nodes on one machine: `cluster.py start | stop | status [FOLDER]`.

All of it lives in one folder, and in a short temporary one: keys, configuration, the accounting's database,
sockets, logs. It touches nothing else, so that it can live beside another SLURM or MariaDB. A stopped
cluster leaves nothing: each start is a new one. Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import random
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
NODES = ("n1", "n2", "n3", "n4")
CPUS_PER_NODE = 4
DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd")
COMMANDS = ("mariadb-install-db", "sacctmgr", "sinfo", "sacct")
PACKAGES = "slurm-wlm slurmdbd slurm-wlm-mysql-plugin mariadb-server munge"
CONTROLLER = ("slurmctld", "-D")
START_TIMEOUT_S = 120
#: In the environment of every process of a cluster, so that `stop` finds them all, also after a crash.
MARK = "DAHPS_TEST_CLUSTER"
#: Daemons lie where an ordinary user's PATH may not lead.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


class ClusterError(Exception):
    """The cluster cannot be started or stopped here; says what to do."""


class Cluster:
    """The cluster of a folder.

    Args:
        folder: Made when the cluster starts; its path may be long and hold any character.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.conf = self.folder / "slurm.conf"
        self._complaint = ""
        self._environment = {
            **os.environ,
            "PATH": PATH,
            "SLURM_CONF": str(self.conf),
            MARK: str(self.folder),
        }

    def start(self) -> None:
        """Start all daemons; returns when the nodes are idle and the accounting answers."""
        check_preconditions()
        with self._alone():
            if self.is_up():
                print("The cluster is up already.")
            else:
                self._stop()  # what a killed cluster left
                try:
                    self._start()
                except BaseException:
                    self._stop()
                    raise

    def stop(self) -> None:
        """End every process of the cluster and of its jobs, and remove what it wrote."""
        if self.folder.exists():
            with self._alone():
                self._stop()

    def is_up(self) -> bool:
        """Whether all nodes take jobs, and the accounting answers."""
        if not self.conf.exists() or not self._processes():  # SLURM's commands take long to give up
            return False
        nodes = self._run("sinfo", "--noheader", "--Node", "--format=%N %t", "--partition=main", check=False)
        states = dict(line.split() for line in nodes.splitlines())
        return (
            set(states) == set(NODES)
            and set(states.values()) <= {"idle", "mix", "alloc", "comp"}
            and "JobID" in self._run("sacct", check=False)
        )

    def end_daemon(self, *command: str, by: signal.Signals) -> None:
        """End one daemon, named by the command that starts it, and wait until it is gone; the jobs go on."""
        for pid in self._processes():
            if arguments_of(pid) == list(command):
                _signal(pid, by)
                while parent_of(pid) is not None:
                    time.sleep(0.01)

    def start_daemon(self, *command: str, **environment: str) -> None:
        """Start a daemon in the background."""
        with (self.folder / "log" / f"{command[0]}.out").open("ab") as log:
            subprocess.Popen(
                command,
                env={**self._environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        # Two starts at once would end each other's daemons as leftovers.
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _start(self) -> None:
        with contextlib.ExitStack() as reserved:
            self._start_daemons(_free_ports(2 + len(NODES), reserved))

    def _start_daemons(self, ports: list[int]) -> None:
        for name in ("log", "state", "mariadb", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        run = self._make_run_folder()
        self._write_configuration(run, ports)
        self._start_munge(run)
        self._start_mariadb(run)
        self.start_daemon("slurmdbd", "-D", MYSQL_UNIX_PORT=f"{run}/mariadb.socket")
        self._wait_for("slurmdbd", lambda: "Cluster" in self._run("sacctmgr", "show", "cluster", check=False))
        self._run("sacctmgr", "--immediate", "add", "cluster", "dahps")
        self.start_daemon(*CONTROLLER)
        for node in NODES:
            self.start_daemon(*daemon_of(node))
        self._wait_for("slurm", self.is_up)

    def _make_run_folder(self) -> Path:
        # The path of a socket may have about a hundred characters, and slurm.conf knows no spaces:
        # a link leads to the folder, whatever its name.
        run = Path(tempfile.mkdtemp(prefix="dahps-slurm-", dir="/tmp"))
        (self.folder / "run").symlink_to(run)
        (run / "folder").symlink_to(self.folder)
        run.chmod(0o755)  # munged refuses its socket where others cannot reach it
        return run

    def _write_configuration(self, run: Path, ports: list[int]) -> None:
        controller_port, accounting_port, *node_ports = ports
        host = socket.gethostname().partition(".")[0]
        values = {
            "run": run,
            "host": host,
            "cpus": CPUS_PER_NODE,
            "controller_port": controller_port,
            "accounting_port": accounting_port,
        }
        nodes = [
            f"NodeName={node} NodeHostname={values['host']} NodeAddr=127.0.0.1 Port={port}"
            for node, port in zip(NODES, node_ports, strict=True)
        ]
        self.conf.write_text((HERE / "slurm.conf.in").read_text().format(**values, nodes="\n".join(nodes)))
        accounting = self.folder / "slurmdbd.conf"
        accounting.touch(mode=0o600)  # slurmdbd refuses one that others can read
        accounting.write_text((HERE / "slurmdbd.conf.in").read_text().format(**values))

    def _start_munge(self, run: Path) -> None:
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        files = {
            "key-file": key,
            "socket": run / "munge.socket",
            "pid-file": run / "munged.pid",
            "seed-file": self.folder / "munge.seed",
            "log-file": self.folder / "log" / "munged.log",
        }
        # --force: it is content with a folder that others may write to, as a checkout may be.
        self.start_daemon(
            "munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in files.items())
        )
        self._wait_for("munged", files["socket"].exists)

    def _start_mariadb(self, run: Path) -> None:
        common = ["--no-defaults", "--user=root", f"--datadir={run}/folder/mariadb"]
        self._run("mariadb-install-db", *common, "--auth-root-authentication-method=socket")
        path = run / "mariadb.socket"
        self.start_daemon("mariadbd", *common, "--skip-networking", f"--socket={path}")
        self._wait_for("mariadbd", path.exists)

    def _run(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode:
            self._complaint = f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}"
            if check:
                raise ClusterError(self._complaint)
        return done.stdout

    def _wait_for(self, daemon: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_ready():
            if time.monotonic() > deadline:
                logs = sorted((self.folder / "log").glob(f"{daemon}*"))
                ends = "".join(f"\n{log.name}: {log.read_text(errors='replace')[-1000:]}" for log in logs)
                raise ClusterError(
                    f"{daemon} did not come up in {START_TIMEOUT_S} s. {self._complaint}{ends}"
                )
            time.sleep(0.1)

    def _stop(self) -> None:
        self._kill()
        run = self.folder / "run"
        if run.is_symlink():
            shutil.rmtree(run.resolve(), ignore_errors=True)
        for entry in self.folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def _kill(self) -> None:
        # Stopped first, so that none can start another while we look for them.
        stopped: set[int] = set()
        while new := self._processes() - stopped:
            for pid in new:
                _signal(pid, signal.SIGSTOP)
            stopped |= new
        for pid in stopped:
            _signal(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while left := self._processes():
            if time.monotonic() > deadline:
                raise ClusterError(f"these processes do not end: {sorted(left)}")
            time.sleep(0.05)

    def _processes(self) -> set[int]:
        """The daemons, the steps of jobs, and all that descends from them."""
        mark = os.fsencode(f"{MARK}={self.folder}")
        parents = {pid: parent_of(pid) for pid in map(int, filter(str.isdigit, os.listdir("/proc")))}
        ours = {pid for pid in parents if mark in environment_of(pid) and pid != os.getpid()}
        grown = True
        while grown:
            children = {pid for pid, parent in parents.items() if parent in ours} - ours
            ours |= children
            grown = bool(children)
        return ours


def check_preconditions() -> None:
    """Raises ClusterError where no cluster can be started, with what to do."""
    if os.geteuid() != 0:
        raise ClusterError("SLURM's daemons act for other users: start the cluster as root")
    missing = [program for program in DAEMONS + COMMANDS if shutil.which(program, path=PATH) is None]
    if missing:
        raise ClusterError(f"missing {', '.join(missing)}: on Debian, apt-get install {PACKAGES}")


def daemon_of(node: str) -> tuple[str, ...]:
    """The command that starts a node's daemon."""
    return ("slurmd", "-D", "-N", node)


def _free_ports(count: int, reserved: contextlib.ExitStack) -> list[int]:
    """Ports that no other cluster takes that starts at the same time, as long as they are reserved."""
    # Below those that the kernel lends to outgoing connections, lest one takes a port before its daemon.
    ports: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(ports) < count:
            port = random.randrange(20000, 32000)
            with contextlib.suppress(OSError):
                # A name that the kernel gives to one process, and takes back when that ends.
                reserved.enter_context(socket.socket(socket.AF_UNIX)).bind(f"\0{MARK}-{port}")
                stack.enter_context(socket.socket()).bind(("", port))
                ports.append(port)
    return ports


def parent_of(pid: int) -> int | None:
    """None for one that has ended, be it a zombie."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state == "Z" else int(parent)


def environment_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def arguments_of(pid: int) -> list[str]:
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")[:-1]
    except OSError:
        return []


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def main() -> int:
    """Run the command; 0 if the cluster is as it was asked to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("start", "stop", "status"))
    parser.add_argument("folder", type=Path, nargs="?", default=HERE.parents[1] / ".slurm")
    arguments = parser.parse_args()
    cluster = Cluster(arguments.folder)
    try:
        if arguments.command != "status":
            getattr(cluster, arguments.command)()
        is_up = cluster.is_up()
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    print(f"export SLURM_CONF={shlex.quote(str(cluster.conf))}" if is_up else "The cluster is down.")
    return int(is_up == (arguments.command == "stop"))


if __name__ == "__main__":
    sys.exit(main())
