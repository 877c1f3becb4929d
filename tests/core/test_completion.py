"""What each shell completes, typed into it on a terminal."""

import os
import shlex
import shutil
import sys

import pytest

from tests.commands import Terminal
from tests.support import skip_unless_required

#: Shell -> how it is started without anybody's settings, and what a person has among them.
SHELLS = {
    "bash": (["bash", "--norc", "-i"], 'eval "$(dahps completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -Uz compinit; compinit -D; eval "$(dahps completion zsh)"'),
    "fish": (["fish", "--no-config", "-i"], "dahps completion fish | source"),
}


@pytest.fixture
def environment(tmp_path):
    """One in which `dahps` is a command, and a home that is empty but for a folder."""
    script = tmp_path / "bin" / "dahps"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m dahps_core "$@"\n')
    script.chmod(0o755)
    home = tmp_path / "home"
    (home / "a-ledger").mkdir(parents=True)
    return {**os.environ, "PATH": f"{script.parent}:{os.environ['PATH']}", "HOME": str(home)}


@pytest.mark.parametrize("shell", SHELLS)
def test_what_is_typed_is_completed(shell, environment):
    command, settings = SHELLS[shell]
    if shutil.which(shell) is None:
        skip_unless_required("SHELLS", f"no {shell} here; Debian has it as the package {shell}")
    with Terminal(command, environment, columns=200) as terminal:
        terminal.type(f"cd; {settings}\n")
        terminal.type("dahps comp\t--help\n")
        terminal.read_until("Usage: dahps completion")
        terminal.type("dahps trials a-l\t --sta\tfin\t--sor\tnumber\n")
        terminal.read_until("/a-ledger/ledger.db: there is no ledger here")
