"""A real NFS server and two clients of it, each with a kernel of its own, on one machine.

The kernels are user-mode Linux; their root is this machine's file tree, read-only, so that they run what is
installed here. `python -m tests.nfs.lab` says whether they boot here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from tests.nfs.guest_init import DISK, MOUNT_POINT
from tests.nfs.machine import PATH, Client, Guest, LabError, Place, Server
from tests.nfs.network import Network

PACKAGES = "user-mode-linux nfs-kernel-server nfs-common rpcbind kmod iproute2 e2fsprogs"
PROGRAMS = (
    *("linux.uml", "modprobe", "ip", "mkfs.ext4", "setpriv", "unshare"),
    *("rpc.nfsd", "rpc.mountd", "exportfs", "mount.nfs", "rpcbind"),
)
MODULES = Path("/usr/lib/uml/modules")
DISK_BYTES = 256 * 2**20


class Lab:
    """A server and two clients that have its export mounted; as a context manager, up inside the block.

    Args:
        folder: For the consoles of the guests.
        locks: "shared": NFSv4.2, whose locks the server keeps; "local": NFSv3 without the server's locks, so
            that they hold in one client only.
        lease_s: How long the server waits for a client that is silent, and for its clients after a restart;
            10 s at least.
        modules: The kernel's modules.

    Attributes:
        server: The server.
        clients: Both clients.
    """

    #: Where the clients see what the server has at `export`.
    mount_point = MOUNT_POINT
    export = DISK / "export"

    server: Server
    clients: list[Client]

    def __init__(
        self,
        folder: Path,
        *,
        locks: Literal["shared", "local"] = "shared",
        lease_s: int = 10,
        modules: Path = MODULES,
    ) -> None:
        self._folder = folder
        self._locks = locks
        self._lease_s = lease_s
        self._modules = modules
        self._at_exit = ExitStack()

    def __enter__(self) -> Lab:
        check_preconditions()
        with ExitStack() as stack:
            place = self._make_place(stack)
            self.server = Server(place, 0, "server", locks=self._locks, lease_s=self._lease_s)
            self.clients = [Client(place, number, f"client{number}", locks=self._locks) for number in (1, 2)]
            for guest in self._guests():
                stack.callback(guest.crash)
                guest.switch_on()
            for guest in self._guests():
                guest.await_boot()
            self._at_exit = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._at_exit.close()

    def restore(self) -> None:
        """All guests are up, plugged in and idle, whatever was done to them."""
        for client in self.clients:
            client.replug()
        for guest in self._guests():
            if not guest.is_up() or guest.is_busy():
                guest.crash()
                guest.switch_on()
        for guest in self._guests():
            guest.await_boot()

    def _guests(self) -> list[Guest]:
        return [self.server, *self.clients]

    def _make_place(self, stack: ExitStack) -> Place:
        self._folder.mkdir(parents=True, exist_ok=True)
        run_folder = Path(tempfile.mkdtemp(prefix="dahps-nfs-", dir="/tmp"))
        stack.callback(shutil.rmtree, run_folder)
        modules = run_folder / "lib" / "modules"  # where modprobe looks for them in a tree
        modules.parent.mkdir()
        modules.symlink_to(self._modules)
        network = Network()
        stack.callback(network.close)
        place = Place(network, run_folder, self._folder)
        place.disk.touch()
        os.truncate(place.disk, DISK_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", place.disk], check=True, env={"PATH": PATH})
        return place


def check_preconditions() -> None:
    """Raises LabError where no lab can be built, with what to do."""
    if os.geteuid() != 0:
        raise LabError("guests need a network of their own: start the lab as root")
    missing = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    if missing:
        raise LabError(f"missing {', '.join(missing)}: on Debian, apt-get install {PACKAGES}")
    if not Path("/dev/net/tun").exists():
        raise LabError("guests need /dev/net/tun")


def main() -> int:
    """0 if a lab comes up here."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            start = time.monotonic()
            with Lab(Path(folder)):
                print(f"An NFS server and two clients booted in {time.monotonic() - start:.0f} s.")
        except (LabError, OSError, subprocess.SubprocessError) as error:
            print(f"No NFS server and clients can be booted here: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
