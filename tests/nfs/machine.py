"""The machines of the lab: user-mode Linux kernels that are booted, told what to do, unplugged and killed."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.nfs.guest_init import AGENT_PORT
from tests.nfs.network import Network, address, port

#: Programs of administrators lie where an ordinary user's PATH may not lead.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
BOOT_TIMEOUT_S = 60.0
RUN_TIMEOUT_S = 60.0


class LabError(Exception):
    """A lab cannot be built here, or a guest does not do what it is told."""


class Process:
    """A process in a guest; its output, stdout and stderr in one, is read as it comes.

    Attributes:
        lines: What it wrote until now.
        returncode: As `subprocess` has it; None while it runs, and for ever if its kernel died first.
    """

    def __init__(self, guest: Guest, argv: list[str], environment: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.returncode: int | None = None
        self._guest = guest
        self._argv = argv
        self._ended = threading.Event()
        self._connection, events = guest.request(argv=argv, env=environment)
        self._pid = json.loads(events.readline())["pid"]
        self._reader = threading.Thread(target=self._read, args=(events,), daemon=True)
        self._reader.start()

    def _read(self, events: Any) -> None:
        with self._connection, events, suppress(OSError):
            for text in events:
                event = json.loads(text)
                if "line" in event:
                    self.lines.append(event["line"])
                else:
                    self.returncode = event["returncode"]
        self._ended.set()

    def wait(self, timeout_s: float = RUN_TIMEOUT_S) -> int | None:
        """The exit status, when the process has ended; None if its kernel died first."""
        if not self._ended.wait(timeout_s):
            raise LabError(f"{self} did not end in {timeout_s} s; it wrote:\n" + "\n".join(self.lines[-20:]))
        return self.returncode

    def is_running(self) -> bool:
        """Whether it was not seen to end."""
        return not self._ended.is_set()

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        self._send(number, to_group=False)

    def kill(self) -> None:
        """End the process and its children by SIGKILL."""
        self._send(signal.SIGKILL, to_group=True)

    def _send(self, number: int, to_group: bool) -> None:
        connection, events = self._guest.request(pid=self._pid, signal=number, to_group=to_group)
        with connection, events:
            events.readline()

    def abandon(self) -> None:
        """Read no more: nobody is there who could write."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._reader.join()

    def __str__(self) -> str:
        return f"{shlex.join(self._argv)} in {self._guest.name}"


@dataclass(frozen=True)
class Place:
    """What the machines of one lab share.

    Attributes:
        network: Where they are plugged in.
        run_folder: For what their kernels need, their modules too; its path is short, and has no space.
        consoles: The folder for what their kernels say.
    """

    network: Network
    run_folder: Path
    consoles: Path

    @property
    def disk(self) -> Path:
        """The server's disk."""
        return self.run_folder / "disk"


class Guest:
    """A machine of the lab.

    Args:
        place: Where it lives.
        number: Its place among the lab's guests.
        name: Its host name.
        options: What its first process is told.
    """

    _role: str

    def __init__(self, place: Place, number: int, name: str, **options: Any) -> None:
        self.name = name
        self._place = place
        self._console = place.consoles / f"{name}.console"
        self._number = number
        self._options = options
        self._kernel: subprocess.Popen[bytes] | None = None
        self._processes: list[Process] = []
        place.network.add_ports(number)

    def boot(self) -> None:
        """Start the kernel; returns when the guest does what it is told."""
        self.switch_on()
        self.await_boot()

    def switch_on(self) -> None:
        """Start the kernel."""
        assert self._kernel is None
        with self._console.open("ab") as console:
            self._kernel = self._place.network.popen(
                self._command(), env={"PATH": PATH}, stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )

    def await_boot(self) -> None:
        """Return when the guest does what it is told."""
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while not self._answers():
            if time.monotonic() > deadline or not self.is_up():
                self.crash()
                end = self._console.read_text(errors="replace")[-3000:]
                raise LabError(f"{self.name} did not boot. The end of its console:\n{end}")
            time.sleep(0.1)

    def is_up(self) -> bool:
        """Whether its kernel runs."""
        return self._kernel is not None and self._kernel.poll() is None

    def is_busy(self) -> bool:
        """Whether a process that was started in it still runs."""
        return any(process.is_running() for process in self._processes)

    def _answers(self) -> bool:
        try:
            return self.run(["true"], timeout_s=10) == []
        except (OSError, ValueError):
            return False

    def _command(self) -> list[str]:
        run = self._place.run_folder
        told = {
            **self._options,
            "role": self._role,
            "name": self.name,
            "storage": address("storage", self._number),
            "control": address("control", self._number),
            "server": address("storage", 0),
            "modules": str(run),
        }
        program = Path(__file__).with_name("guest_init.py")
        init = run / f"init-{self.name}"
        # A script, since a path on a kernel's command line can hold no space.
        init.write_text(f"#!/bin/sh\nexec {shlex.join([sys.executable, str(program), json.dumps(told)])}\n")
        init.chmod(0o755)
        # Without gro a guest truncates the packets that others send in one piece, and waits for them again.
        ports = [
            f"vec{index}:transport=tap,ifname={port(bridge, self._number)},depth=64,gro=1"
            f",mac=02:00:00:00:{index:02}:{self._number + 1:02}"
            for index, bridge in enumerate(("storage", "control"))
        ]
        # All host processes of a kernel die together, and with whoever started it. A shell is the first of
        # them, since the first one of a process namespace cannot abort, as a kernel in panic does.
        return [
            *("setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child"),
            *("sh", "-c", '"$@"; exit', "sh", "linux.uml"),
            *("mem=640M", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}", "panic=1", "noreboot"),
            *("con=null", "con0=null,fd:1", "ssl=null", f"uml_dir={run}", f"umid={self.name}"),
            *ports,
            *([f"ubd0={self._place.disk}"] if self._role == "server" else []),
        ]

    def request(self, **what: Any) -> tuple[socket.socket, Any]:
        """A connection on which the guest was asked for something, and the answers on it."""
        connection = self._place.network.connect(address("control", self._number), AGENT_PORT)
        connection.settimeout(None)
        events = connection.makefile("rw", encoding="utf-8")
        events.write(json.dumps(what) + "\n")
        events.flush()
        return connection, events

    def start(self, argv: list[str], **environment: str) -> Process:
        """Start a process."""
        process = Process(self, argv, environment)
        self._processes.append(process)
        return process

    def run(self, argv: list[str], timeout_s: float = RUN_TIMEOUT_S, **environment: str) -> list[str]:
        """The lines that a process wrote; one that fails is an error."""
        process = self.start(argv, **environment)
        if (returncode := process.wait(timeout_s)) != 0:
            raise LabError(f"{process} exited with {returncode}:\n" + "\n".join(process.lines))
        return process.lines

    def crash(self) -> None:
        """End the kernel at once, as a loss of power does; it may be booted again."""
        if self._kernel is not None and self.is_up():
            pid = self._kernel.pid
            # The first of its processes, not who waits for it: that one answers when all of them are gone.
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
            try:
                self._kernel.wait(10)
            except subprocess.TimeoutExpired:
                self._kernel.kill()
                self._kernel.wait()
        self._kernel = None
        for process in self._processes:
            process.abandon()
        self._processes.clear()


class Server(Guest):
    """The NFS server; its disk outlives its kernel."""

    _role = "server"

    def restart(self) -> None:
        """The kernel dies, and another one boots from the same disk."""
        self.crash()
        self.boot()


class Client(Guest):
    """An NFS client."""

    _role = "client"

    def unplug(self) -> None:
        """Cut it off from the server; it still does what it is told."""
        self._place.network.ip("link", "set", port("storage", self._number), "nomaster")

    def replug(self) -> None:
        """Connect it with the server again."""
        self._place.network.ip("link", "set", port("storage", self._number), "master", "storage")
