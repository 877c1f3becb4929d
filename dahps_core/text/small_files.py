"""Reading files of a ledger's folder, in whose places anything may be: without a hang or a flood."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from dahps_core.text.json_text import parse_json

#: No file that is read as a whole is larger.
MAX_BYTES = 64 * 2**20


def open_at_once(path: str | Path, flags: int = os.O_RDONLY) -> int:
    """Return a descriptor; of a FIFO without waiting for a writer.

    Raises:
        OSError: The file cannot be opened.
    """
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def read_text(path: Path) -> str:
    """Return the text of a small regular file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no regular file, too large, or no UTF-8.
    """
    with open(path, "rb", opener=open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is not a regular file")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES // 2**20} MiB")
    return content.decode()


def read_json(path: Path) -> Any:
    """Return the value in a small file of JSON; raises as `read_text` does, also where there is none."""
    return parse_json(read_text(path))
