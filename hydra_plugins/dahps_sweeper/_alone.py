"""The command line of a multirun, as it would be without the search."""

from __future__ import annotations

import re
import sys

#: What makes a command line a multirun, or tells how.
_OF_A_MULTIRUN = re.compile(r"-m|--multirun|[+~]*hydra(/|\.)(sweeper|launcher|sweep|mode)\b.*", re.DOTALL)


def command_alone() -> list[str]:
    """The words of this process's command line that a trial alone needs too."""
    n_arguments = len(sys.argv) - 1
    program = sys.orig_argv[: len(sys.orig_argv) - n_arguments]
    return program + [word for word in sys.argv[1:] if not _OF_A_MULTIRUN.fullmatch(word)]
