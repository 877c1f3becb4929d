"""The `dahps` command as people start it: a process of its own, with or without a terminal."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from multiprocessing.connection import wait

LIMIT_S = 60.0


def dahps(*words, status=0, **options):
    """What a command tells; of one that is refused, its complaint."""
    ended = subprocess.run(
        [sys.executable, "-m", "dahps_core", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        **options,
    )
    assert ended.returncode == status, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr if status else ended.stdout


class Terminal:
    """A terminal of its own, and a command on it.

    Args:
        command: Its words.
        environment: Of the command.
        columns: How wide the terminal is.
        lines: How high.
    """

    def __init__(self, command, environment=None, columns=80, lines=24):
        self._main, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environment = {**(environment or os.environ), "TERM": "xterm"}
        for name in ("COLUMNS", "LINES"):  # which count more than the terminal's own
            environment.pop(name, None)
        self.process = subprocess.Popen(
            command,
            stdin=other,
            stdout=other,
            stderr=other,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(other)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()
        os.close(self._main)

    def type(self, text):
        os.write(self._main, text.encode())

    def read_until(self, text=None):
        """All that was shown until now, when the text is; until the end, if nothing is awaited."""
        seen = b""
        while text is None or text.encode() not in seen:
            if not wait([self._main], LIMIT_S):
                raise AssertionError(f"waited {LIMIT_S} s in vain for {text!r}: {seen}")
            data = self._read()
            if not data:
                assert text is None, seen
                break
            seen += data
        return seen.decode()

    def _read(self):
        with suppress(OSError):  # what Linux tells of a terminal that nobody writes to any more
            return os.read(self._main, 65536)
        return b""


def on_a_terminal(*words, **size):
    """A `dahps` on a terminal."""
    return Terminal([sys.executable, "-m", "dahps_core", *map(str, words)], **size)
