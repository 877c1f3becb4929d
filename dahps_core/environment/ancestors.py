"""Which process started this one with its environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class Origin(NamedTuple):
    """The process that has set some environment variables.

    Attributes:
        distance: How many processes, from this one up, were started with the variables; 0 if this one set
            them.
        name: An ancestor of this process, by number and start time, so that no later process of this host has
            the same name.
    """

    distance: int
    name: str


def origin(variables: Iterable[tuple[str, str]]) -> Origin:
    """Find the nearest ancestor that was itself started without these variables.

    A process that the user must not inspect counts as one.
    """
    wanted = {os.fsencode(f"{name}={value}") for name, value in variables}
    line = list(_line())
    distance = next((n for n, pid in enumerate(line) if not wanted <= _environment(pid)), len(line))
    starter = line[min(max(distance, 1), len(line) - 1)]
    return Origin(distance, f"{starter}.{_status(starter)[19]}")


def _line() -> Iterator[int]:
    """Yield this process, its parent, and so on."""
    pid = os.getpid()
    while pid:
        yield pid
        pid = int(_status(pid)[1])


def _status(pid: int) -> list[str]:
    """Return the fields of proc_pid_stat(5) from the third on; the line ends where there are none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:  # it has ended, or this is no Linux
        return ["?", "0", *["0"] * 18]


def _environment(pid: int) -> set[bytes]:
    """Return the environment that a process was started with."""
    try:
        return set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return set()
