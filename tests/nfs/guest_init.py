"""The first process of a guest of the lab: sets up its role, then runs what it is told over the network.

`guest_init.py OPTIONS`, with the options as JSON. Only the standard library is needed.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

AGENT_PORT = 7000
#: Where the server keeps what outlives its kernel, and where clients see the export.
DISK, MOUNT_POINT = Path("/run/disk"), Path("/run/shared")
NFSD = Path("/proc/fs/nfsd")
#: What a guest writes to; all else is the host's, and read-only.
WRITABLE = ("/run", "/var/lib/nfs", "/dev/shm")


def set_up(options: dict[str, Any]) -> None:
    """Everything that a guest needs before it is told what to do."""
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    os.environ["TMPDIR"] = "/run"
    _run("mount", "-t", "proc", "proc", "/proc")
    for folder in WRITABLE:
        Path(folder).mkdir(exist_ok=True)
        _run("mount", "-t", "tmpfs", "tmpfs", folder)
    socket.sethostname(options["name"])
    _run("ip", "link", "set", "lo", "up")
    for device, address in (("vec0", options["storage"]), ("vec1", options["control"])):
        _run("ip", "address", "add", f"{address}/24", "dev", device)
        _run("ip", "link", "set", device, "up")
    {"server": _serve, "client": _mount}[options["role"]](options)


def _serve(options: dict[str, Any]) -> None:
    for module in ("ext4", "nfsd"):
        _run("modprobe", "-d", options["modules"], module)
    DISK.mkdir()
    _run("mount", "-t", "ext4", "-o", "barrier=0", "/dev/ubda", str(DISK))
    export, state = DISK / "export", DISK / "state"
    for folder in (export, state, state / "rpc_pipefs", state / "sm"):
        folder.mkdir(exist_ok=True)
    for file in ("etab", "rmtab"):
        (state / file).touch()
    # Which clients may reclaim their locks after a restart has to be known to the next kernel.
    _run("mount", "--bind", str(state), "/var/lib/nfs")
    _run("mount", "-t", "nfsd", "nfsd", str(NFSD))
    for name in ("nfsv4leasetime", "nfsv4gracetime"):
        (NFSD / name).write_text(str(options["lease_s"]))
    _run("exportfs", "-o", "rw,no_root_squash,fsid=0,insecure,sync,no_subtree_check", f"*:{export}")
    older = ["--no-nfs-version", "3"]
    if options["locks"] == "local":
        older = []
        _run("rpcbind")
    _run("rpc.mountd", *older)
    _run("rpc.nfsd", *older, "8")


def _mount(options: dict[str, Any]) -> None:
    version, way = {"shared": ("nfsv4", "vers=4.2"), "local": ("nfsv3", "vers=3,nolock,proto=tcp")}[
        options["locks"]
    ]
    export = {"shared": "/", "local": DISK / "export"}[options["locks"]]
    _run("modprobe", "-d", options["modules"], version)
    MOUNT_POINT.mkdir()
    # The pause before a repeated request is a tenth of the usual one: tests need not wait a minute.
    _run(
        "mount", "-t", "nfs", "-o", f"{way},hard,timeo=60", f"{options['server']}:{export}", str(MOUNT_POINT)
    )


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def answer_for_ever(address: str) -> None:
    """Serve one request for each connection: a command to run, or a signal to send."""
    with socket.create_server((address, AGENT_PORT)) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection, connection.makefile("rw", encoding="utf-8") as lines:

        def tell(**event: Any) -> None:
            lines.write(json.dumps(event) + "\n")
            lines.flush()

        request = json.loads(lines.readline())
        if "signal" in request:
            send = os.killpg if request["to_group"] else os.kill
            send(request["pid"], request["signal"])
            tell(returncode=0)
            return
        process = subprocess.Popen(
            request["argv"],
            env={**os.environ, **request["env"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        tell(pid=process.pid)
        assert process.stdout is not None
        for line in process.stdout:
            tell(line=line.rstrip("\n"))
        tell(returncode=process.wait())


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    set_up(options)
    answer_for_ever(options["control"])
