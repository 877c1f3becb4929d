"""The two kinds of `mpirun`, of which Debian can have both."""

import os
import shutil

from tests.support import skip_unless_required

#: Implementation -> its command, and Debian's package.
MPIRUN = {"openmpi": ("mpirun.openmpi", "openmpi-bin"), "mpich": ("mpirun.mpich", "mpich")}


def mpirun(implementation, n):
    """The command that starts n processes of what follows it."""
    command, package = MPIRUN[implementation]
    if shutil.which(command) is None:
        skip_unless_required("MPI", f"no {command} here; Debian has it in the package {package}")
    if implementation == "mpich":
        return [command, "-n", str(n)]
    as_root = [] if os.geteuid() else ["--allow-run-as-root"]
    return [command, *as_root, "--oversubscribe", "-n", str(n)]
