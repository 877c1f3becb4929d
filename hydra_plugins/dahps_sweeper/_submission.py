"""Which jobs submitit has submitted, by the files that it leaves for them."""

from __future__ import annotations

import glob
import os
import re

_SUFFIX = "_submitted.pkl"


class Submission:
    """The jobs that were submitted since this was made.

    The launcher itself reports its jobs when the last one has ended; each job's file is in place when the
    job has been submitted.

    Args:
        folder: The launcher's `submitit_folder`, in which `%j` and the like are replaced by a job's id; None
            for a launcher of which no jobs are known.
    """

    def __init__(self, folder: str | None) -> None:
        self._pattern = None if folder is None else _pattern(folder)
        self._before = self._found()

    def jobs(self) -> set[str]:
        """Return the ids that submitit gives: "17_3" for a task of SLURM's array 17, "17" for a
        single job.
        """
        return self._found() - self._before

    def batches(self) -> list[str]:
        """Return the ids of the arrays and single jobs that these belong to."""
        return sorted({job.partition("_")[0] for job in self.jobs()}, key=lambda job: (len(job), job))

    def _found(self) -> set[str]:
        paths = glob.glob(self._pattern) if self._pattern else []
        return {os.path.basename(path).removesuffix(_SUFFIX) for path in paths}


def _pattern(folder: str) -> str:
    expanded = os.path.abspath(os.path.expanduser(folder))
    return os.path.join(re.sub("%[jtAa]", "*", glob.escape(expanded)), f"*{_SUFFIX}")
