"""The command line of a multirun, as it would be without the search."""

from __future__ import annotations

import re
import sys

#: What makes a command line a multirun, or tells how.
_OF_A_MULTIRUN = re.compile(r"-m|--multirun|[+~]*hydra(/|\.)(sweeper|launcher|sweep|mode)\b.*", re.DOTALL)


def command_alone() -> list[str]:
    """The words of this process's command line that a trial alone needs too."""
    arguments = sys.argv[1:]
    program = sys.orig_argv[: len(sys.orig_argv) - len(arguments)]
    words = [word for word in arguments if not _OF_A_MULTIRUN.fullmatch(word)]
    if any(word.startswith("hydra/sweeper=") for word in arguments):
        # Without that word, Hydra's own sweeper has no place for what goes into ours.
        words = [word for word in words if "@hydra.sweeper" not in word.partition("=")[0]]
    return program + words
